import type { IncomingHttpHeaders } from 'node:http';

/** Matches the `Accept` header of an `EventSource`, which contains only `text/event-stream`. */
const EVENT_STREAM = /^\s*text\/event-stream\s*(?:;[^,]*)?$/i;

/** Returns whether a request was sent by an `EventSource`, which does not reconnect after a status other than 200. */
export function isEventSource(request: { readonly method?: string; readonly headers: IncomingHttpHeaders }): boolean {
  const { accept = '' } = request.headers;
  // Browsers send exactly this value. The pattern is slower, and this function runs for every request.
  return request.method === 'GET' && (accept === 'text/event-stream' || EVENT_STREAM.test(accept));
}
