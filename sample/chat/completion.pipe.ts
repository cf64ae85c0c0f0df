import { BadRequestException, Injectable, type PipeTransform } from '@nestjs/common';
import type { Turn } from './chat-model.js';

const ROLES: readonly unknown[] = ['system', 'user', 'assistant'];
/** The number of messages of one request, and the number of their characters. */
const MOST = { messages: 100, characters: 20_000 };

/** The part of a request of OpenAI's Chat Completions API that the sample uses. */
export interface CompletionRequest {
  readonly messages: readonly Turn[];
  readonly stream: boolean;
}

@Injectable()
export class CompletionPipe implements PipeTransform<unknown, CompletionRequest> {
  transform(body: unknown): CompletionRequest {
    const { messages, stream = false } = (body ?? {}) as { readonly messages?: unknown; readonly stream?: unknown };
    if (!Array.isArray(messages) || messages.length === 0 || !messages.every(isTurn)) {
      throw refusal('messages', 'messages is a list of objects with a role and with content that is a text');
    }
    const length = messages.reduce((sum, { content }) => sum + content.length, 0);
    if (messages.length > MOST.messages || length > MOST.characters) {
      throw refusal('messages', `messages has at most ${MOST.messages} elements and ${MOST.characters} characters`);
    }
    if (typeof stream !== 'boolean') {
      throw refusal('stream', 'stream is true or false');
    }
    return { messages: messages.map(({ role, content }) => ({ role, content })), stream };
  }
}

function isTurn(message: unknown): message is Turn {
  const { role, content } = (message ?? {}) as Partial<Record<keyof Turn, unknown>>;
  return ROLES.includes(role) && typeof content === 'string';
}

/** `OpenAiErrorFilter` sends the field with the message. */
function refusal(param: string, message: string): BadRequestException {
  return new BadRequestException({ statusCode: 400, message, param });
}
