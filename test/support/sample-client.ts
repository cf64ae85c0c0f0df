import { type EventSourceMessage, EventSourceParserStream } from 'eventsource-parser/stream';

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
