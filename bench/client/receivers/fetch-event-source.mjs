import { fetchEventSource } from '@microsoft/fetch-event-source';

// The package is for browsers. With `openWhenHidden`, it uses only the timers of the window, and removes a listener that it has not added.
Object.assign(globalThis, { window: globalThis, document: { removeEventListener: () => undefined } });

/** @type {import('../contestants.mjs').Receive} */
export const receive = (url, onData) => {
  const controller = new AbortController();
  fetchEventSource(url, {
    fetch,
    signal: controller.signal,
    openWhenHidden: true,
    onmessage: ({ data }) => onData(JSON.parse(data)),
    // Without this, it does not connect again after a response that ends cleanly.
    onclose: () => {
      throw new Error('The response has ended');
    },
  }).catch(() => undefined);
  return () => controller.abort();
};
