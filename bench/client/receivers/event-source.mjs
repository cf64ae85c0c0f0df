import { EventSource as Package } from 'eventsource';

/** @param {typeof Package} EventSource @returns {import('../contestants.mjs').Receive} */
const receive = (EventSource) => (url, onData) => {
  const source = new EventSource(url);
  source.onmessage = ({ data }) => onData(JSON.parse(data));
  return () => source.close();
};

export const eventsource = receive(Package);
/** Needs the flag `--experimental-eventsource`. */
export const undici = receive(globalThis.EventSource);
