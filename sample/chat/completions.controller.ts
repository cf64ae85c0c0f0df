import { randomUUID } from 'node:crypto';
import { Body, Controller, Post, UseFilters } from '@nestjs/common';
import { Stream, StreamSignal } from 'nestjs-streaming';
import { chatCompletions, OpenAiErrorFilter } from 'nestjs-streaming/ai';
import { ChatModel } from './chat-model.js';
import { CompletionPipe, type CompletionRequest } from './completion.pipe.js';

/** The same model over OpenAI's Chat Completions API, for curl and for the many clients of that API. An answer belongs to its request. */
@Controller('v1/chat/completions')
@UseFilters(OpenAiErrorFilter)
export class CompletionsController {
  constructor(private readonly model: ChatModel) {}

  /** The head waits for the first chunk: until then, an error has a status, and an answer that is not streamed can be a `Response`. */
  @Post()
  @Stream({ format: chatCompletions, openDelay: 'first-chunk' })
  async complete(@Body(CompletionPipe) { messages, stream }: CompletionRequest, @StreamSignal() signal: AbortSignal) {
    const tokens = this.model.answer(messages, signal);
    return stream ? this.chunks(tokens) : Response.json(await this.whole(tokens));
  }

  private async *chunks(tokens: AsyncIterable<string>): AsyncGenerator<object> {
    const about = this.about('chat.completion.chunk');
    const chunk = (delta: object, reason: 'stop' | null) => ({
      ...about,
      choices: [{ index: 0, delta, finish_reason: reason }],
    });
    let role: { readonly role?: 'assistant' } = { role: 'assistant' };
    for await (const content of tokens) {
      yield chunk({ ...role, content }, null);
      role = {};
    }
    yield chunk(role, 'stop');
  }

  private async whole(tokens: AsyncIterable<string>): Promise<object> {
    let content = '';
    for await (const token of tokens) {
      content += token;
    }
    const message = { role: 'assistant', content };
    return { ...this.about('chat.completion'), choices: [{ index: 0, message, finish_reason: 'stop' }] };
  }

  private about(object: string) {
    return {
      id: `chatcmpl-${randomUUID()}`,
      object,
      created: Math.floor(Date.now() / 1_000),
      model: this.model.name,
    };
  }
}
