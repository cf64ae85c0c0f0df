import type { Socket } from 'node:net';

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

/** Writes bytes to one socket. Returns whether it is full then. */
export function writeTo(socket: Socket, bytes: Buffer): boolean {
  try {
    // `true` is right: there was room even before the operating system took any bytes. `false` may be wrong.
    return !socket.write(bytes) && isFull(socket);
  } catch (error) {
    // Other code has replaced write(). The other sockets still have to be written to.
    socket.destroy(error instanceof Error ? error : undefined);
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
