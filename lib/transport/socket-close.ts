import type { Socket } from 'node:net';

const watched = new WeakMap<Socket, Set<() => void>>();

/**
 * Calls back when a socket closes. A socket gets one listener, however many of its requests wait:
 * how many a client pipelines is up to the client.
 *
 * @returns what stops the wait
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
