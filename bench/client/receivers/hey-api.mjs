import { readFileSync } from 'node:fs';
import { stop, transform } from 'esbuild';

/** The file that `@hey-api/openapi-ts` copies into the code that it generates. */
export const SOURCE = new URL(
  '../../node_modules/@hey-api/openapi-ts/dist/clients/core/serverSentEvents.ts',
  import.meta.url,
);

const { code } = await transform(readFileSync(SOURCE, 'utf8'), { loader: 'ts' });
await stop();
const { createSseClient } = await import(`data:text/javascript,${encodeURIComponent(code)}`);

/** @type {import('../contestants.mjs').Receive} */
export const receive = (url, onData) => {
  const controller = new AbortController();
  const { stream } = createSseClient({ url, signal: controller.signal });
  const run = async () => {
    for await (const data of stream) {
      onData(data);
    }
  };
  void run();
  return () => controller.abort();
};
