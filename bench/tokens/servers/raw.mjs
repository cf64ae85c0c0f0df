import { createServer } from 'node:http';
import { answer, frame, HEADERS, partsOf } from '../answer.mjs';

/** How long tokens are gathered, in milliseconds. */
const GATHER_MS = 20;

/**
 * @param {(chunks: ReturnType<typeof answer>, response: import('node:http').ServerResponse) => Promise<void>} write
 * @returns {import('../worker.mjs').Program}
 */
const serving = (write) => ({
  server: createServer((request, response) => {
    response.writeHead(200, HEADERS);
    void write(answer(partsOf(request.url).plan), response);
  }),
});

/** A write for each token. */
export const each = () =>
  serving(async (chunks, response) => {
    for await (const chunk of chunks) {
      if (response.destroyed) {
        return;
      }
      response.write(frame(chunk));
    }
    response.end();
  });

/** The first token at once, and then a write for all that have come within 20 ms after the write before. */
export const gathered = () =>
  serving(async (chunks, response) => {
    let text = '';
    let wroteAt = -GATHER_MS;
    /** @type {NodeJS.Timeout | undefined} */
    let timer;
    const write = () => {
      timer = undefined;
      wroteAt = performance.now();
      response.write(text);
      text = '';
    };
    for await (const chunk of chunks) {
      if (response.destroyed) {
        return;
      }
      text += frame(chunk);
      if (timer === undefined) {
        const rest = wroteAt + GATHER_MS - performance.now();
        if (rest > 0) {
          timer = setTimeout(write, rest);
        } else {
          write();
        }
      }
    }
    clearTimeout(timer);
    response.end(text);
  });
