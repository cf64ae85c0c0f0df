import { BadGatewayException, Logger } from '@nestjs/common';
import { EventSourceParserStream } from 'eventsource-parser/stream';
import { ChatModel, type Turn } from './chat-model.js';

export interface OpenAiSettings {
  /** Up to and including the version: `https://api.openai.com/v1`. */
  readonly baseUrl: string;
  readonly apiKey?: string;
  readonly model: string;
}

interface CompletionChunk {
  readonly choices?: readonly { readonly delta?: { readonly content?: string | null } }[];
  readonly error?: { readonly message?: string };
}

/** A server with the API for chat completions of OpenAI: OpenAI, vLLM, Ollama, llama.cpp, LM Studio, … */
export class OpenAiModel extends ChatModel {
  private readonly logger = new Logger(OpenAiModel.name);

  constructor(private readonly settings: OpenAiSettings) {
    super();
  }

  get name(): string {
    return this.settings.model;
  }

  /** The signal cancels the request, so the other server stops computing tokens. */
  async *answer(conversation: readonly Turn[], signal: AbortSignal): AsyncGenerator<string> {
    const body = await this.request(conversation, signal);
    const events = body.pipeThrough(new TextDecoderStream()).pipeThrough(new EventSourceParserStream());
    for await (const { data } of events) {
      if (data === '[DONE]') {
        return;
      }
      const { choices, error } = JSON.parse(data) as CompletionChunk;
      if (error) {
        throw new Error(`The chat server failed: ${error.message}`);
      }
      const token = choices?.[0]?.delta?.content;
      if (token) {
        yield token;
      }
    }
    throw new Error('The chat server ended its answer without [DONE]');
  }

  private async request(
    conversation: readonly Turn[],
    signal: AbortSignal,
  ): Promise<ReadableStream<Uint8Array<ArrayBuffer>>> {
    const { baseUrl, apiKey, model } = this.settings;
    const response = await fetch(`${baseUrl.replace(/\/+$/, '')}/chat/completions`, {
      method: 'POST',
      headers: {
        'Content-Type': 'application/json',
        Accept: 'text/event-stream',
        ...(apiKey ? { Authorization: `Bearer ${apiKey}` } : {}),
      },
      body: JSON.stringify({ model, stream: true, messages: conversation }),
      signal,
    }).catch((error: unknown) => {
      signal.throwIfAborted();
      throw new BadGatewayException('The chat server cannot be reached', { cause: error });
    });
    if (!response.ok || !response.body) {
      this.logger.warn(`The chat server answered ${response.status}: ${await response.text()}`);
      throw new BadGatewayException(`The chat server answered ${response.status}`);
    }
    return response.body;
  }
}
