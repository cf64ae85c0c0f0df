import { randomUUID } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { InjectRuns, type Runs, type RunView, StreamCloseError } from 'nestjs-streaming';
import { fromText, type UiTextChunk } from 'nestjs-streaming/ai';
import { ChatHistory } from './chat-history.js';
import { type Question, textOf } from './chat-message.js';
import { ChatModel } from './chat-model.js';

/** The answers in progress. Each is a run with the id of its chat, so a chat has one answer at a time, in all processes. */
@Injectable()
export class Answers {
  constructor(
    @InjectRuns('answers') private readonly runs: Runs<UiTextChunk>,
    private readonly model: ChatModel,
    private readonly history: ChatHistory,
  ) {}

  start(question: Question): Promise<RunView<UiTextChunk>> {
    return this.runs.start(question.chat, ({ signal }) => this.answer(question, signal), { onConflict: 'reject' });
  }

  /** Returns the answer from its start. A complete answer is in the history. */
  join(chat: string): Promise<RunView<UiTextChunk>> {
    return this.runs.join(chat, { ended: 'none' });
  }

  /** Returns the answer after the chunk with an id, or from its start. */
  read(chat: string, after: string | undefined): Promise<RunView<UiTextChunk>> {
    return this.runs.join(chat, { after });
  }

  async isRunning(chat: string): Promise<boolean> {
    return (await this.runs.get(chat))?.status === 'running';
  }

  stop(chat: string): Promise<void> {
    return this.runs.stop(chat);
  }

  private async *answer({ chat, message }: Question, signal: AbortSignal): AsyncGenerator<UiTextChunk> {
    await this.history.add({ chat, message });
    const conversation = this.history.of(chat).map((each) => ({ role: each.role, content: textOf(each) }));
    const id = randomUUID();
    let text = '';
    let isComplete = false;
    try {
      for await (const chunk of fromText(this.model.answer(conversation, signal), { messageId: id })) {
        text += chunk.type === 'text-delta' ? chunk.delta : '';
        yield chunk;
      }
      isComplete = true;
    } finally {
      // An answer that somebody has stopped is kept as it is. One that has failed is not: it has to be asked for again.
      if (text !== '' && (isComplete || isStopped(signal))) {
        await this.history.add({ chat, message: { id, role: 'assistant', parts: [{ type: 'text', text }] } });
      }
    }
  }
}

function isStopped({ reason }: AbortSignal): boolean {
  return reason instanceof StreamCloseError && reason.code === 'stopped';
}
