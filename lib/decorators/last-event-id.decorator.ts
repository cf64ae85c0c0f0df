import { createStreamParameter } from '../route/route-parameter.js';

/**
 * Parameter decorator that injects the `Last-Event-ID` of a client that reconnects (WHATWG HTML §9.2.4), or `undefined` if the client sends
 * none. Pipes do not run on it. A client can send any string: a hub responds to an id that it does not know with a `reset`. If you use the id
 * yourself, validate it.
 *
 * A WebSocket client sends its id as the subprotocol `last-event-id.<id>`, with the id percent-encoded, or in the URL (`?lastEventId=…`).
 *
 * @example
 * ```ts
 * @Sse('log')
 * async *log(@LastEventId() after?: string) {
 *   for await (const line of this.lines.since(after)) yield { id: line.id, data: line };
 * }
 * ```
 */
export const LastEventId: () => ParameterDecorator = createStreamParameter('last-event-id');
