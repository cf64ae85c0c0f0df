/**
 * nest-11-specs.mjs newest|lowest: prints the test files that `.ci/run` runs on this version of Nest 11, each on a line.
 *
 * These are the tests of what Nest does for a stream. The others test the package, which is the same for all versions. The workflow in .github/ runs all.
 */
import { readdirSync } from 'node:fs';

const version = process.argv[2];
if (version !== 'newest' && version !== 'lowest') {
  throw new Error('node .ci/nest-11-specs.mjs newest|lowest');
}

/** Routing, injection, guards, pipes, interceptors, filters, hooks, adapters, lifecycle, modules for OpenAPI and tests. */
const OF_NEST =
  /express\/|transports\/(cancellation|errors|hooks|hub|labels|shutdown)|\/(ai-errors|authorization|bundled|cancellation|closing|content-type|drop-in|errors|forgotten-module|health|hooks|hub-start-up|interceptors|labels|late-heads|nest|nest-sse|openapi|optional-peers|pending-handlers|pipes|platform|reauthorize|refusals|request-headers|run-producers|run-routes|sample-chat|shutdown|smoke|sources|start-up|telemetry|testing-kit|two-copies|uploads|web-request|websocket|websocket-neighbours)\.spec/;
/** They take long, and the versions of Nest 11 hardly differ in them. */
const ON_NEWEST = /\/(docs|docs-types|sample)\.spec/;

const files = ['test/e2e', 'test/express'].flatMap((folder) =>
  readdirSync(folder, { recursive: true })
    .filter((name) => name.endsWith('.spec.ts'))
    .map((name) => `${folder}/${name}`),
);
const chosen = files.filter((file) => OF_NEST.test(file) || (version === 'newest' && ON_NEWEST.test(file)));
console.log(chosen.sort().join('\n'));
