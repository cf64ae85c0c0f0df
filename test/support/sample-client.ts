import { type EventSourceMessage, EventSourceParserStream } from 'eventsource-parser/stream';

/** Reads a body as text, until a condition holds. */
export class Reading {
  received = '';
  private readonly reader: ReadableStreamDefaultReader<string>;

  constructor(response: Response) {
    if (!response.body) {
      throw new Error('The response has no body');
    }
    this.reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  }

  async until(pattern: RegExp): Promise<string> {
    while (!pattern.test(this.received)) {
      const { done, value } = await this.reader.read();
      if (done) {
        throw new Error(`The body ended before ${pattern} came: ${this.received}`);
      }
      this.received += value;
    }
    return this.received;
  }

  async end(): Promise<string> {
    for (;;) {
      const { done, value } = await this.reader.read();
      if (done) {
        return this.received;
      }
      this.received += value;
    }
  }

  leave(): Promise<void> {
    return this.reader.cancel();
  }
}

/** Resolves to the first events of the given types, or of all types. */
export async function events(response: Response, count: number, ...types: string[]): Promise<EventSourceMessage[]> {
  const found: EventSourceMessage[] = [];
  const parsed = response.body?.pipeThrough(new TextDecoderStream()).pipeThrough(new EventSourceParserStream());
  for await (const event of parsed ?? []) {
    if (types.length === 0 || types.includes(event.event ?? '')) {
      found.push(event);
    }
    if (found.length === count) {
      break;
    }
  }
  return found;
}

export function postJson(body: unknown, accept = '*/*'): RequestInit {
  return {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', Accept: accept },
    body: JSON.stringify(body),
  };
}
