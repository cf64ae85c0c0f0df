import { WebSocket } from 'ws';

/** The least code for a WebSocket. @type {import('../contestants.mjs').Receive} */
export const raw = (url, onData) => {
  const socket = new WebSocket(url, 'events.v1+json');
  socket.onmessage = ({ data }) => onData(JSON.parse(String(data)).data);
  socket.onerror = () => undefined;
  return () => socket.terminate();
};
