import type { Socket } from 'node:net';
import { type RoundWriter, useRoundWriter, writeToEach } from '../../lib/transport/round-writer.js';

const sentNatively = new WeakMap<Socket, number>();
let usual: RoundWriter | undefined;

/** What writes the rounds of hubs in tests that do not choose another writer. */
export const usualWriter: RoundWriter = (sockets, bytes) => (usual ?? writeToEach)(sockets, bytes);

/** Makes the tests of this process use another writer, unless they choose one themselves. `undefined` restores that of JavaScript. */
export function setUsualWriter(next: RoundWriter | undefined): void {
  usual = next;
  useRoundWriter(next);
}

/** Notes that bytes were sent to a socket without its `write()`. */
export function noteSent(socket: Socket): void {
  sentNatively.set(socket, writesBeside(socket) + 1);
}

/** How often bytes were sent to a socket without its `write()`. */
export function writesBeside(socket: Socket): number {
  return sentNatively.get(socket) ?? 0;
}
