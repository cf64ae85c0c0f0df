import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { abortable } from 'nestjs-streaming';
import { ChatModel, type Turn } from './chat-model.js';
import { NgramModel } from './ngram-model.js';
import { asText } from './tokenizer.js';

const CORPUS = new URL('./corpus.txt', import.meta.url);
const DELAY_MS = { least: 15, most: 55, afterSentence: 160 };

/** A small model of words, which is trained at start-up on corpus.txt. It provides tokens to stream, but no correct answers. */
export class EmbeddedModel extends ChatModel {
  readonly name = 'embedded 4-gram';

  constructor(private readonly model: NgramModel) {
    super();
  }

  static load(): EmbeddedModel {
    return new EmbeddedModel(NgramModel.train(readFileSync(CORPUS, 'utf8')));
  }

  /** The model does not accept a signal: `abortable()` ends the wait for its next token when the answer is stopped. */
  answer(conversation: readonly Turn[], signal: AbortSignal): AsyncIterable<string> {
    const question = conversation.findLast(({ role }) => role === 'user');
    return abortable(this.tokens(question?.content ?? ''), signal);
  }

  private async *tokens(prompt: string): AsyncGenerator<string> {
    for (const token of asText(this.model.generate(prompt))) {
      yield token;
      const pause = DELAY_MS.least + Math.random() * (DELAY_MS.most - DELAY_MS.least);
      await sleep(/[.?!]$/.test(token) ? DELAY_MS.afterSentence : pause);
    }
    // A line break for terminals.
    yield '\n';
  }
}
