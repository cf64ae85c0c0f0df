import { connect } from 'nestjs-streaming/client';
import { WebSocket } from 'ws';

/** @param {import('nestjs-streaming/client').StreamTransport} as @returns {import('../contestants.mjs').Receive} */
const receive = (as) => (url, onData) => {
  const stream = connect(url, { as, WebSocket, retry: { base: 0 } });
  const run = async () => {
    for await (const { data } of stream) {
      onData(data);
    }
  };
  void run();
  return () => stream.close();
};

export const sse = receive('sse');
export const ndjson = receive('ndjson');
export const jsonSeq = receive('json-seq');
export const ws = receive('ws');
