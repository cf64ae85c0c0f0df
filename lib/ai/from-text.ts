import type { PullSource } from '../source/source.js';
import { sourceOf } from '../source/source-of.js';
import { demand, keys } from '../util/checks.js';
import { kindOf } from '../util/error-text.js';
import { StreamError } from '../util/errors.js';
import { DONE } from '../util/iteration.js';
import { onRejection } from '../util/thenable.js';

/** A piece of an answer, or of the reasoning before it. */
export type TextToken = string | { readonly reasoning: string };

/** A chunk of a UI message of the AI SDK that consists of text and reasoning. */
export type UiTextChunk =
  | { type: 'start'; messageId?: string }
  | { type: 'text-start' | 'reasoning-start'; id: string }
  | { type: 'text-delta' | 'reasoning-delta'; id: string; delta: string }
  | { type: 'text-end' | 'reasoning-end'; id: string }
  | { type: 'finish' };

/** Options of {@link fromText}. */
export interface FromTextOptions {
  /** The id of the message. Default: the client chooses one. */
  readonly messageId?: string;
}

type PartKind = 'text' | 'reasoning';

const OPTIONS = keys<FromTextOptions>({
  messageId: (value) => (typeof value === 'string' ? undefined : 'must be a string'),
});

/**
 * Returns the chunks of a UI message for plain text, such as the tokens of a model: for the format {@link uiMessages}, or as the result of the
 * producer of a run. Each part of the text is announced, and ended.
 *
 * Reasoning is yielded as `{ reasoning: '…' }`, and becomes a part of its own. Empty strings are left out. If the source fails, the open part is
 * ended before the error is thrown. If it fails before its first token, there is no chunk, so that an exception filter can still respond.
 *
 * @param source an iterable, a generator, a Node.js `Readable` with an encoding, or a web stream of strings. A string is one token. When the
 * client disconnects, it is stopped at once
 * @throws `StreamError` with the code `invalid-source` if it is none of these, or if it yields anything else
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
export function fromText(
  source: Iterable<TextToken> | AsyncIterable<TextToken> | ReadableStream<TextToken>,
  options: FromTextOptions = {},
): AsyncIterable<UiTextChunk> {
  demand(OPTIONS, options, 'fromText()');
  const read = sourceOf(source);
  if (read.kind !== 'pull' || read.head) {
    throw new StreamError(
      'invalid-source',
      `fromText() cannot read ${kindOf(source)}: pass a generator, another iterable, or a web stream of strings`,
    );
  }
  return new TextMessage(read, options);
}

/** An iterator and not a generator: `return()` of a generator would wait for the next token before it stops the source. */
class TextMessage implements AsyncIterableIterator<UiTextChunk> {
  private readonly ready: UiTextChunk[] = [];
  private part: { readonly kind: PartKind; readonly id: string } | undefined;
  private parts = 0;
  private begun = false;
  private over = false;
  private failure: { readonly error: unknown } | undefined;

  constructor(
    private readonly source: PullSource,
    private readonly options: FromTextOptions,
  ) {}

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<UiTextChunk, undefined>> {
    for (;;) {
      const value = this.ready.shift();
      if (value !== undefined) {
        return { done: false, value };
      }
      const { failure } = this;
      this.failure = undefined;
      if (failure) {
        throw failure.error;
      }
      if (this.over) {
        return DONE;
      }
      await this.read();
    }
  }

  async return(): Promise<IteratorResult<UiTextChunk, undefined>> {
    if (!this.over) {
      this.over = true;
      this.ready.length = 0;
      await this.source.stop();
    }
    return DONE;
  }

  private async read(): Promise<void> {
    try {
      const step = await this.source.pull();
      if (this.over) {
        // The client has left in the meantime.
        return;
      }
      if (step.done) {
        this.over = true;
        this.begin();
        this.endPart();
        this.ready.push({ type: 'finish' });
      } else {
        this.add(step.value);
      }
    } catch (error) {
      if (this.over) {
        throw error;
      }
      this.over = true;
      this.endPart();
      this.failure = { error };
    }
  }

  private add(token: unknown): void {
    const kind: PartKind = typeof token === 'string' ? 'text' : 'reasoning';
    const delta = typeof token === 'string' ? token : (token as { reasoning?: unknown } | null)?.reasoning;
    if (typeof delta !== 'string') {
      // The error below is the one to report, and not one of a source that cannot be stopped.
      onRejection(this.source.stop(), () => undefined);
      throw new StreamError(
        'invalid-source',
        `fromText() received ${kindOf(token)}: its source has to yield strings, or { reasoning: string }`,
      );
    }
    if (delta !== '') {
      this.begin();
      const id = this.partOf(kind);
      this.ready.push({ type: `${kind}-delta`, id, delta });
    }
  }

  private begin(): void {
    if (!this.begun) {
      const { messageId } = this.options;
      this.begun = true;
      this.ready.push(messageId === undefined ? { type: 'start' } : { type: 'start', messageId });
    }
  }

  /** Returns the id of the open part, which is opened if the last token was of the other kind. */
  private partOf(kind: PartKind): string {
    if (this.part?.kind !== kind) {
      this.endPart();
      this.part = { kind, id: `${kind}-${++this.parts}` };
      this.ready.push({ type: `${kind}-start`, id: this.part.id });
    }
    return this.part.id;
  }

  private endPart(): void {
    const { part } = this;
    this.part = undefined;
    if (part) {
      this.ready.push({ type: `${part.kind}-end`, id: part.id });
    }
  }
}
