import { createStreamParameter } from '../route/route-parameter.js';

/**
 * Injects the `Last-Event-ID` a reconnecting client sends (WHATWG HTML §9.2.4), or `undefined`. Pipes are not run on it: the id is the
 * string that the client sent, whatever it is. A hub answers one that it does not know with a `reset`; check it if you read it yourself.
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
