import type { Socket } from 'node:net';

const watched = new WeakMap<Socket, Set<() => void>>();

/**
 * Calls back when a socket closes. A socket gets a single listener for all of its requests, since a client may pipeline any number of
 * them.
 *
 * @returns a function that removes the callback
 */
export function onceSocketCloses(socket: Socket, callback: () => void): () => void {
  const callbacks = watched.get(socket) ?? watch(socket);
  callbacks.add(callback);
  return () => callbacks.delete(callback);
}

function watch(socket: Socket): Set<() => void> {
  const callbacks = new Set<() => void>();
  watched.set(socket, callbacks);
  socket.once('close', () => {
    for (const callback of callbacks) {
      callback();
    }
  });
  return callbacks;
}
