import { BadRequestException, Injectable, type PipeTransform } from '@nestjs/common';

const LONGEST = { name: 40, text: 500 };
const NOBODY = 'Somebody';

/** The content of a message. */
export interface Message {
  readonly name: string;
  readonly text: string;
}

/** Creates a message from the body of a request: `{ "text": "…", "name": "…" }`. The name is optional. */
@Injectable()
export class MessagePipe implements PipeTransform<unknown, Message> {
  transform(body: unknown): Message {
    if (typeof body !== 'object' || body === null) {
      throw new BadRequestException('a message is an object with a text');
    }
    const { name = '', text } = body as Readonly<Record<string, unknown>>;
    return { name: checked('name', name) || NOBODY, text: demanded('text', checked('text', text)) };
  }
}

function checked(field: keyof typeof LONGEST, value: unknown): string {
  if (typeof value !== 'string') {
    throw new BadRequestException(`${field} is not a string`);
  }
  const text = value.trim();
  if (text.length > LONGEST[field]) {
    throw new BadRequestException(`${field} has at most ${LONGEST[field]} characters`);
  }
  return text;
}

function demanded(field: string, text: string): string {
  if (text === '') {
    throw new BadRequestException(`${field} is empty`);
  }
  return text;
}
