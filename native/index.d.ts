import type { Socket } from 'node:net';

/**
 * Writes bytes to sockets, after all that was written to them before.
 * @returns the indexes of the sockets that are full, or `undefined` if none is
 */
export type RoundWriter = (sockets: readonly Socket[], bytes: Buffer) => number[] | undefined;

/** The version of the interface between this package and `nestjs-streaming`. */
export const contract: 1;

/** The version of this package. */
export const version: string;

/**
 * Returns a writer that sends to plain TCP sockets with one native call, if nothing waits in them. `undefined` on platforms for which the package has no
 * native code: Windows, and other runtimes than Node.js.
 *
 * @param writeTo writes to one socket in any other state, and returns whether the socket is full
 */
export const createWriter: ((writeTo: (socket: Socket, bytes: Buffer) => boolean) => RoundWriter) | undefined;
