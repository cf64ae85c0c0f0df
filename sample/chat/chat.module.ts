import { Module } from '@nestjs/common';
import { ChatController } from './chat.controller.js';
import { ChatModel } from './chat-model.js';
import { EmbeddedModel } from './embedded-model.js';
import { OpenAiModel } from './openai-model.js';

function createModel(): ChatModel {
  const { OPENAI_BASE_URL: baseUrl, OPENAI_API_KEY: apiKey, OPENAI_MODEL: model = 'gpt-4o-mini' } = process.env;
  return baseUrl ? new OpenAiModel({ baseUrl, apiKey, model }) : EmbeddedModel.load();
}

@Module({ controllers: [ChatController], providers: [{ provide: ChatModel, useFactory: createModel }] })
export class ChatModule {}
