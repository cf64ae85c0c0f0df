import { createStreamParameter } from '../route/route-parameter.js';

/**
 * Injects the `Last-Event-ID` a reconnecting client sends (WHATWG HTML §9.2.4), or `undefined`. One that no
 * client sends, because it is longer than 1 KiB or holds a NUL, is ignored with a debug line.
 * Pipes are not run on it: the id is the string that the client sent.
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
