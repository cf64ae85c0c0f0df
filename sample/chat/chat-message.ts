import { BadRequestException, Injectable, type PipeTransform } from '@nestjs/common';

const LONGEST_QUESTION = 2_000;
const CHAT_ID = /^[\w-]{8,64}$/;

interface TextPart {
  readonly type: 'text';
  readonly text: string;
}

/** A message that is complete: a `UIMessage` of the AI SDK, of which only the text is kept. */
export interface ChatMessage {
  readonly id: string;
  readonly role: 'user' | 'assistant';
  readonly parts: readonly TextPart[];
}

/** A question in a chat. */
export interface Question {
  readonly chat: string;
  readonly message: ChatMessage;
}

export function textOf({ parts }: ChatMessage): string {
  return parts.map(({ text }) => text).join('');
}

/** The id of a chat. Whoever knows it can read the chat, so a page chooses a long random one. */
@Injectable()
export class ChatIdPipe implements PipeTransform<unknown, string> {
  transform(id: unknown): string {
    if (typeof id !== 'string' || !CHAT_ID.test(id)) {
      throw new BadRequestException('The id of a chat has 8 to 64 letters, digits, "_" and "-"');
    }
    return id;
  }
}

/**
 * The body that `useChat` sends: the id of the chat and all messages of the page. Only the last one is used, which is the question: what was said before,
 * the server knows better.
 */
@Injectable()
export class QuestionPipe implements PipeTransform<unknown, Question> {
  constructor(private readonly ids: ChatIdPipe) {}

  transform(body: unknown): Question {
    const { id, messages } = (body ?? {}) as { readonly id?: unknown; readonly messages?: unknown };
    const chat = this.ids.transform(id);
    const message: unknown = Array.isArray(messages) ? messages.at(-1) : undefined;
    return { chat, message: questionIn(message) };
  }
}

function questionIn(message: unknown): ChatMessage {
  const { id, role, parts } = (message ?? {}) as Partial<Record<keyof ChatMessage, unknown>>;
  if (role !== 'user' || !Array.isArray(parts) || typeof id !== 'string' || id === '' || id.length > 64) {
    throw new BadRequestException('The last one of "messages" is a message of the user, with an id and parts');
  }
  const text = parts
    .filter((part): part is TextPart => part?.type === 'text' && typeof part.text === 'string')
    .map((part) => part.text)
    .join('')
    .trim();
  if (text === '') {
    throw new BadRequestException('The question is empty');
  }
  if (text.length > LONGEST_QUESTION) {
    throw new BadRequestException(`A question has at most ${LONGEST_QUESTION} characters`);
  }
  return { id, role, parts: [{ type: 'text', text }] };
}
