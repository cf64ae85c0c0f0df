import { Body, Controller, Delete, Get, Header, HttpCode, Param, Post, UseFilters } from '@nestjs/common';
import { LastEventId, Stream } from 'nestjs-streaming';
import { TextErrorFilter, uiMessages } from 'nestjs-streaming/ai';
import { Answers } from './answers.js';
import { ChatHistory } from './chat-history.js';
import { ChatIdPipe, type ChatMessage, type Question, QuestionPipe } from './chat-message.js';
import { ChatModel } from './chat-model.js';

/** A chat as a page loads it. */
interface Chat {
  /** The messages that are complete. */
  readonly messages: readonly ChatMessage[];
  /** Whether the answer to the last one is in progress. */
  readonly running: boolean;
  readonly model: string;
}

/**
 * A chat for `useChat` of the AI SDK: `new DefaultChatTransport({ api: '/chat' })`. An answer goes on while its page is reloaded, and each page that has the
 * chat open shows it.
 */
@Controller('chat')
@UseFilters(TextErrorFilter)
export class ChatController {
  constructor(
    private readonly answers: Answers,
    private readonly history: ChatHistory,
    private readonly model: ChatModel,
  ) {}

  @Post()
  @Stream({ format: uiMessages })
  ask(@Body(QuestionPipe) question: Question) {
    return this.answers.start(question);
  }

  /** What `useChat({ resume: true })` asks for after a reload. Without an answer in progress, the status is 204. */
  @Get(':id/stream')
  @Stream({ format: uiMessages })
  resume(@Param('id', ChatIdPipe) chat: string) {
    return this.answers.join(chat);
  }

  /** The same answer for `connect()` of `nestjs-streaming/client`: with ids, so that a page whose connection was lost receives only what it missed. */
  @Get(':id/answer')
  @Stream({ format: ['sse', 'ndjson'] })
  read(@Param('id', ChatIdPipe) chat: string, @LastEventId() after?: string) {
    return this.answers.read(chat, after);
  }

  /** Stops the answer for all pages, whichever process writes it. */
  @Delete(':id/stream')
  @HttpCode(204)
  async stop(@Param('id', ChatIdPipe) chat: string): Promise<void> {
    await this.answers.stop(chat);
  }

  @Get(':id')
  @Header('Cache-Control', 'no-store')
  async load(@Param('id', ChatIdPipe) chat: string): Promise<Chat> {
    const running = await this.answers.isRunning(chat);
    return { messages: this.history.of(chat), running, model: this.model.name };
  }
}
