import { Body, Controller, Get, HttpCode, Post, Query } from '@nestjs/common';
import { ConnectedStream, Stream, type StreamConnection, type StreamOptions, UseStreamHooks } from 'nestjs-streaming';
import { WHOLE_OR_FAILED } from '../whole-or-failed.js';
import { ChatModel } from './chat-model.js';
import { PromptPipe } from './prompt.pipe.js';

/** The client chooses the format. curl accepts every type, and receives text. */
const TOKENS: StreamOptions = { format: ['text', 'ndjson', 'sse'], type: String };

@Controller('chat')
@UseStreamHooks(WHOLE_OR_FAILED)
export class ChatController {
  constructor(private readonly model: ChatModel) {}

  @Get()
  @Stream(TOKENS)
  get(@ConnectedStream() stream: StreamConnection<string>, @Query('prompt', PromptPipe) prompt: string) {
    return this.answer(stream, prompt);
  }

  @Post()
  @HttpCode(200)
  @Stream(TOKENS)
  post(@ConnectedStream() stream: StreamConnection<string>, @Body('prompt', PromptPipe) prompt: string) {
    return this.answer(stream, prompt);
  }

  private answer(stream: StreamConnection<string>, prompt: string): AsyncIterable<string> {
    stream.header('X-Chat-Model', this.model.name);
    return this.model.answer(prompt, stream.signal);
  }
}
