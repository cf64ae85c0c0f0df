/**
 * nest-11-specs.mjs newest|lowest: prints the test files that run on this version of Nest 11, each on a line.
 *
 * Tests of what Nest does for a stream run on both versions. Most others run on one of the two, so that all together run on Nest 11 once: they test the
 * package, which is the same. Tests in browsers, of memory, of brokers and of other programs run on Nest 12 only, as they take the longest.
 */
import { readdirSync } from 'node:fs';

const version = process.argv[2];
if (version !== 'newest' && version !== 'lowest') {
  throw new Error('node .ci/nest-11-specs.mjs newest|lowest');
}

/** Routing, injection, guards, pipes, interceptors, filters, hooks, adapters, lifecycle, modules for OpenAPI and tests. */
const OF_NEST =
  /express\/|transports\/(cancellation|errors|hooks|labels|shutdown)|\/(ai-errors|authorization|bundled|closing|content-type|drop-in|errors|forgotten-module|health|hooks|hub-start-up|interceptors|labels|late-heads|nest|nest-sse|openapi|optional-peers|pending-handlers|platform|reauthorize|refusals|request-headers|run-routes|shutdown|smoke|sources|start-up|telemetry|testing-kit|two-copies|uploads|web-request|websocket|websocket-neighbours)\.spec/;
const ON_NEST_12 =
  /guides\/|chromium|\/(across-processes|address-bar|authorization-clients|clients|console|deploys|figures|framing|heap-bounds|hostile-values|http2-conformance|hub-rows|import|members|nginx|openapi-client|paired-bench|sample-page|sample-page-chat|sample-redis|scaling|text-halves|use-chat|websocket-conformance|websocket-memory)\.spec/;
/** They take long, and few versions can differ. */
const ON_NEWEST = /\/(docs|docs-types|sample)\.spec/;

const files = ['test/e2e', 'test/express'].flatMap((folder) =>
  readdirSync(folder, { recursive: true })
    .filter((name) => name.endsWith('.spec.ts'))
    .map((name) => `${folder}/${name}`),
);
const others = files.filter((file) => ![OF_NEST, ON_NEST_12, ON_NEWEST].some((list) => list.test(file))).sort();

/** Whether a test runs on this version. */
function isChosen(file) {
  if (ON_NEST_12.test(file)) {
    return false;
  }
  if (OF_NEST.test(file)) {
    return true;
  }
  return ON_NEWEST.test(file) || others.indexOf(file) % 2 === 1 ? version === 'newest' : version === 'lowest';
}

console.log(files.filter(isChosen).sort().join('\n'));
