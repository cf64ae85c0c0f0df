import { Module } from '@nestjs/common';
import { StreamingModule } from 'nestjs-streaming';
import { Answers } from './answers.js';
import { ChatController } from './chat.controller.js';
import { ChatHistory, KEPT_MESSAGES } from './chat-history.js';
import { ChatIdPipe } from './chat-message.js';
import { ChatModel } from './chat-model.js';
import { CompletionsController } from './completions.controller.js';
import { EmbeddedModel } from './embedded-model.js';
import { OpenAiModel } from './openai-model.js';

const DAY_MS = 86_400_000;

function createModel(): ChatModel {
  const { OPENAI_BASE_URL: baseUrl, OPENAI_API_KEY: apiKey, OPENAI_MODEL: model = 'gpt-4o-mini' } = process.env;
  return baseUrl ? new OpenAiModel({ baseUrl, apiKey, model }) : EmbeddedModel.load();
}

@Module({
  imports: [
    StreamingModule.registerRuns({
      name: 'answers',
      // An answer that nobody has read for a minute is stopped.
      onDisconnect: { detach: 60_000 },
      maxDuration: 300_000,
      limits: { running: 100, bytes: 1_048_576 },
      // A process that was killed is noticed after five seconds.
      lease: 5_000,
    }),
    StreamingModule.registerHub({ name: 'messages', history: { limit: KEPT_MESSAGES, ttl: DAY_MS } }),
  ],
  controllers: [ChatController, CompletionsController],
  providers: [Answers, ChatHistory, ChatIdPipe, { provide: ChatModel, useFactory: createModel }],
})
export class ChatModule {}
