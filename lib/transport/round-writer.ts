import type { Socket } from 'node:net';
import { isError, textOf } from '../util/error-text.js';

/**
 * Writes the same bytes to sockets.
 *
 * The bytes must reach a socket after all bytes that were written to it before. A socket may have a queue, or be corked or destroyed: {@link writeTo} is right for any of them. The array
 * and the bytes must not be changed, and may be kept.
 *
 * @returns the indexes of the sockets that are full, whose queues have as many bytes as they should, in ascending order; `undefined` if none is
 */
export type RoundWriter = (sockets: readonly Socket[], bytes: Buffer) => number[] | undefined;

/** Whether a socket has as many bytes in its queue as it should. It emits `drain` when they are written. */
function isFull(socket: Socket): boolean {
  return socket.writableLength >= socket.writableHighWaterMark;
}

/** Writes bytes to one socket. Returns whether there is room for more. Throws what a `write()` throws that other code has put in place of that of Node.js. */
export function writeOnce(socket: Socket, bytes: Buffer): boolean {
  // `true` is right: there was room even before the operating system took any bytes. `false` may be wrong.
  return socket.write(bytes) || !isFull(socket);
}

/** Writes bytes to one socket of a round. Returns whether it is full then. If its `write()` throws, the socket is destroyed with the error, and the others are still written to. */
export function writeTo(socket: Socket, bytes: Buffer): boolean {
  try {
    return !writeOnce(socket, bytes);
  } catch (error) {
    process.emitWarning(
      `socket.write() threw: ${textOf(error)}. Other code has replaced it. The connection is closed, since it may have received a part of an event`,
    );
    socket.destroy(isError(error) ? error : undefined);
    return false;
  }
}

/** Writes bytes to one socket after the other. */
export const writeToEach: RoundWriter = (sockets, bytes) => {
  let full: number[] | undefined;
  for (let i = 0; i < sockets.length; i++) {
    if (writeTo(sockets[i] as Socket, bytes)) {
      full ??= [];
      full.push(i);
    }
  }
  return full;
};

let writer = writeToEach;

/** Replaces the writer of all rounds in this process. `undefined` restores {@link writeToEach}. */
export function useRoundWriter(next: RoundWriter | undefined): void {
  writer = next ?? writeToEach;
}

/** Writes the same bytes to many sockets: those of a round of a hub. Returns the indexes of the sockets that are full. */
export const writeToAll: RoundWriter = (sockets, bytes) => writer(sockets, bytes);
