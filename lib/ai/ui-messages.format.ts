import type { StreamFormat } from '../format/format.js';
import { type AiItem, aiFormat, type Session } from './ai-format.js';
import type { Failure } from './failure.js';

/** Tracks the parts of a message that are not complete: a client would show them as unfinished for ever. */
class UiMessage implements Session {
  /** The chunks that end the open parts. A text and a reasoning part may have the same id. */
  private readonly ends = new Map<string, AiItem>();

  note(item: AiItem): void {
    switch (item.type) {
      case 'text-start':
      case 'reasoning-start':
        this.open(item.type === 'text-start' ? 'text-end' : 'reasoning-end', item.id);
        break;
      case 'text-end':
      case 'reasoning-end':
        this.ends.delete(`${item.type} ${String(item.id)}`);
        break;
      case 'reset-step':
        this.ends.clear();
        break;
    }
  }

  fail({ message, stopped }: Failure): readonly AiItem[] {
    return [...this.ends.values(), stopped ? { type: 'abort' } : { type: 'error', errorText: message }];
  }

  private open(type: string, id: unknown): void {
    this.ends.set(`${type} ${String(id)}`, { type, id });
  }
}

/**
 * The UI message stream of the AI SDK (version 1 of the protocol), which `useChat` reads. Each chunk is a `UIMessageChunk`, such as those of
 * `toUIMessageStream()` or of {@link fromText}. The stream ends with `[DONE]`.
 *
 * If the handler fails, or the application shuts down, open text and reasoning parts are ended, and a chunk of the type `error` follows. If the
 * stream is closed through `StreamRegistry`, or its run by `stop()`, that chunk has the type `abort`, after which `useChat` shows no error.
 *
 * @example
 * ```ts
 * @Post('chat')
 * @Stream({ format: uiMessages })
 * chat(@Body() { messages }: ChatRequest, @StreamSignal() signal: AbortSignal) {
 *   return fromText(this.model.answer(messages, signal));
 * }
 * ```
 */
export const uiMessages: StreamFormat = aiFormat({
  name: 'uiMessages',
  headers: { 'x-vercel-ai-ui-message-stream': 'v1' },
  last: new Set(['finish', 'abort', 'error']),
  done: '[DONE]',
  hint: ': return fromText() for plain text',
  session: () => new UiMessage(),
});
