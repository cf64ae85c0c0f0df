import { createParser } from 'eventsource-parser';
import { EventSourceParserStream } from 'eventsource-parser/stream';

/**
 * @param {(body: ReadableStream<Uint8Array>, onData: (data: unknown) => void) => Promise<void>} read
 * @returns {import('../contestants.mjs').Receive}
 */
const receive = (read) => (url, onData) => {
  const controller = new AbortController();
  const run = async () => {
    const { body } = await fetch(url, { signal: controller.signal });
    if (body) {
      await read(body, onData);
    }
  };
  run().catch(() => undefined);
  return () => controller.abort();
};

export const parser = receive(async (body, onData) => {
  const { feed } = createParser({ onEvent: ({ data }) => onData(JSON.parse(data)) });
  const decoder = new TextDecoder();
  for await (const bytes of body) {
    feed(decoder.decode(bytes, { stream: true }));
  }
});

/** As in its documentation. */
export const stream = receive(async (body, onData) => {
  for await (const { data } of body.pipeThrough(new TextDecoderStream()).pipeThrough(new EventSourceParserStream())) {
    onData(JSON.parse(data));
  }
});
