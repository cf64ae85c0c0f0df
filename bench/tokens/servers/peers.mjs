import { createServer } from 'node:http';
import { pipeUIMessageStreamToResponse } from 'ai';
import { createClient } from 'redis';
import { createResumableStreamContext } from 'resumable-stream/generic';
import { answer, frame, HEADERS, partsOf } from '../answer.mjs';

/** The AI SDK, with a stream of chunks that are ready: the work of `streamText()` is not measured. @returns {import('../worker.mjs').Program} */
export const aiSdk = () => ({
  server: createServer((request, response) => {
    const chunks = /** @type {AsyncIterable<any>} */ (answer(partsOf(request.url).plan));
    void pipeUIMessageStreamToResponse({ response, stream: ReadableStream.from(chunks) });
  }),
});

/** @param {string} plan */
async function* frames(plan) {
  for await (const chunk of answer(plan)) {
    yield frame(chunk);
  }
}

/** @param {string} url */
async function connected(url) {
  const client = createClient({ url });
  client.on('error', (error) => {
    throw error;
  });
  await client.connect();
  return client;
}

/** `resumable-stream`, with the same client of Redis as this package. @returns {Promise<import('../worker.mjs').Program>} */
export async function resumable() {
  const url = process.env.BENCH_REDIS_URL ?? '';
  const [publisher, subscriber] = /** @type {any[]} */ (await Promise.all([connected(url), connected(url)]));
  const streams = createResumableStreamContext({ waitUntil: null, publisher, subscriber });
  /** @param {string} id @param {string} plan */
  const create = (id, plan) => streams.createNewResumableStream(id, () => ReadableStream.from(frames(plan)));
  const server = createServer(async (request, response) => {
    const { action, id, plan } = partsOf(request.url);
    const stream = action === 'start' ? await create(id, plan) : await streams.resumeExistingStream(id);
    response.writeHead(stream ? 200 : 204, HEADERS);
    for await (const text of /** @type {AsyncIterable<string>} */ (stream ?? [])) {
      if (response.destroyed) {
        return;
      }
      response.write(text);
    }
    response.end();
  });
  // Without a viewer, the stream would keep all chunks for one.
  return { server, start: async (id, plan) => void (await create(id, plan))?.cancel() };
}
