import type { EventSourceMessage } from 'eventsource-parser';

/** What the decoder passes on at a blank line. */
export interface PythonEvent {
  readonly event: string;
  readonly data: string;
  readonly id: string;
  readonly retry: number | undefined;
}

/**
 * Dispatches as the packages openai and httpx-sse for Python do: at a blank line, an event is passed on if any field was seen since the last
 * one, also if that is only a `retry`, or if there has ever been an id. Their users then parse the data as JSON. The WHATWG standard passes on
 * only what has data.
 */
export class PythonDecoder {
  readonly events: PythonEvent[] = [];
  private event = '';
  private data: string[] = [];
  private lastId = '';
  private retry: number | undefined;

  /** Decodes a complete body. */
  static decode(body: string): PythonEvent[] {
    const decoder = new PythonDecoder();
    // What follows the last line end is not a line.
    for (const line of body.split(/\r\n|\r|\n/).slice(0, -1)) {
      decoder.takeLine(line);
    }
    return decoder.events;
  }

  private takeLine(line: string): void {
    if (line === '') {
      this.dispatch();
      return;
    }
    if (line.startsWith(':')) {
      return;
    }
    const [name = '', ...rest] = line.split(':');
    const value = rest.join(':').replace(/^ /, '');
    if (name === 'event') {
      this.event = value;
    } else if (name === 'data') {
      this.data.push(value);
    } else if (name === 'id' && !value.includes('\0')) {
      this.lastId = value;
    } else if (name === 'retry' && /^\d+$/.test(value)) {
      this.retry = Number(value);
    }
  }

  private dispatch(): void {
    const { event, data, lastId, retry } = this;
    if (event === '' && data.length === 0 && lastId === '' && retry === undefined) {
      return;
    }
    this.events.push({ event, data: data.join('\n'), id: lastId, retry });
    this.event = '';
    this.data = [];
    this.retry = undefined;
  }
}

/** What an event of this decoder is in a parser that follows the standard. */
export function asMessage({ event, data, id }: PythonEvent): EventSourceMessage {
  return { event: event === '' ? undefined : event, data, id: id === '' ? undefined : id };
}
