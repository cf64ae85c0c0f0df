import { createStreamParameter } from '../route/route-parameter.js';

/**
 * Injects the `Last-Event-ID` of a client that reconnects (WHATWG HTML §9.2.4), or `undefined` if the client sends none. Pipes do not run on it. It is the
 * string that the client sent, and may be any string: a hub answers an id that it does not know with a `reset`; check the id if you read it yourself.
 *
 * A WebSocket client sends it as the subprotocol `last-event-id.<id>`, where the id is percent-encoded, or in its URL
 * (`?lastEventId=…`).
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
