import type { IncomingHttpHeaders } from 'node:http';

/** The `Accept` of an `EventSource`: an event stream and nothing else. */
const EVENT_STREAM = /^\s*text\/event-stream\s*(?:;[^,]*)?$/i;

/** Whether a request is that of an `EventSource`, which gives up for good on any status but 200. */
export function isEventSource(request: { readonly method?: string; readonly headers: IncomingHttpHeaders }): boolean {
  return request.method === 'GET' && EVENT_STREAM.test(request.headers.accept ?? '');
}
