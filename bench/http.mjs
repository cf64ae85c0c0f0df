import { connect } from 'node:net';

/** What the load generators know of HTTP. They parse nothing: they only find the end of each response. */

const buffer = Buffer.allocUnsafe(65_536);
const LAST_CHUNK = '0\r\n\r\n';
const LONGEST_HEAD = 1_024;

/**
 * Connects and sends a request.
 * @param {number} port
 * @param {string} request
 * @param {(bytes: number) => void} onBytes they are at the start of the buffer
 * @param {Buffer} [into]
 */
export function open(port, request, onBytes, into = buffer) {
  const onread = {
    buffer: into,
    /** @param {number} bytes */
    callback: (bytes) => {
      onBytes(bytes);
      return true;
    },
  };
  const socket = connect({ port, host: '127.0.0.1', noDelay: true, onread });
  socket.write(request);
  return socket;
}

/**
 * @param {string} path
 * @param {'keep-alive' | 'close'} connection
 * @param {string} [more] header lines
 */
export const get = (path, connection, more = '') =>
  `GET ${path} HTTP/1.1\r\nHost: bench\r\nAccept: text/event-stream\r\nConnection: ${connection}\r\n${more}\r\n`;

/** Returns the length of a response, if its first read contains the length. */
function lengthIn(/** @type {number} */ bytes) {
  const head = buffer.latin1Slice(0, Math.min(bytes, LONGEST_HEAD));
  const length = /\ncontent-length: (\d+)/i.exec(head)?.[1];
  return length === undefined ? Number.POSITIVE_INFINITY : head.indexOf('\r\n\r\n') + 4 + Number(length);
}

/** Returns a function that decides after each read whether a response is complete, by its length or its last chunk. */
export function answerEnd() {
  let missing = 0;
  let tail = '';
  /** @param {number} bytes */
  return (bytes) => {
    missing = (missing > 0 ? missing : lengthIn(bytes)) - bytes;
    const start = Math.max(0, bytes - LAST_CHUNK.length);
    tail = (tail + buffer.latin1Slice(start, bytes)).slice(-LAST_CHUNK.length);
    if (tail === LAST_CHUNK) {
      missing = 0;
    }
    return missing <= 0;
  };
}

/**
 * @param {number} count
 * @param {(resolve: (value?: unknown) => void, reject: (error: Error) => void, index: number) => void} run
 */
export const all = (count, run) =>
  Promise.all(
    Array.from({ length: count }, (_, index) => new Promise((resolve, reject) => run(resolve, reject, index))),
  );

/**
 * Reads streams to their end, one on each connection, all at once. Not every server closes the connection on request.
 * @param {{ port: number, path: string, connections: number }} work
 */
export async function streams({ port, path, connections }) {
  await all(connections, (resolve, reject) => {
    const isOver = answerEnd();
    const socket = open(port, get(path, 'close'), (bytes) => {
      if (isOver(bytes)) {
        socket.destroy();
      }
    });
    socket.on('error', reject).on('close', resolve);
  });
}
