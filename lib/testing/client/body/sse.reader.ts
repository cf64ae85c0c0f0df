import { AssertionError } from 'node:assert';
import type { TextReader } from './body-reader.js';
import { shortened } from './json-value.js';
import type { EventFields } from './streamed-event.js';

const END_OF_LINE = /\r\n|\r|\n/g;

/**
 * Server-Sent Events, a block at a time (WHATWG HTML §9.2.6). Other than a browser, it gives blocks without data too, and takes an
 * event the body ends in for an error.
 */
export class SseReader implements TextReader {
  private rest = '';
  /** What of the block is there. */
  private fields = new Map<string, string>();
  private afterCr = false;

  constructor(private readonly json: boolean) {}

  read(text: string): EventFields[] {
    // A CR at the end of what came before has ended its line already, whatever follows.
    const fresh = this.afterCr && text.startsWith('\n') ? text.slice(1) : text;
    this.afterCr = text === '' ? this.afterCr : text.endsWith('\r');
    const [head = '', ...lines] = fresh.split(END_OF_LINE);
    this.rest += head;
    const last = lines.pop();
    if (last === undefined) {
      return [];
    }
    const first = this.rest;
    this.rest = last;
    return [first, ...lines].flatMap((line) => this.line(line));
  }

  end(): EventFields[] {
    if (this.rest !== '' || this.fields.size > 0) {
      const found = [...this.fields].map(([name, value]) => `${name}: ${value}`).concat(this.rest);
      throw new AssertionError({ message: `The body ends within an event: ${shortened(found.join('\n'))}` });
    }
    return [];
  }

  private line(line: string): EventFields[] {
    if (line === '') {
      return this.dispatch();
    }
    const colon = line.indexOf(':');
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    const ignored = (name === 'id' && value.includes('\0')) || (name === 'retry' && !/^\d+$/.test(value));
    if (!ignored) {
      const before = name === 'data' || name === '' ? this.fields.get(name) : undefined;
      this.fields.set(name, before === undefined ? value : `${before}\n${value}`);
    }
    return [];
  }

  private dispatch(): EventFields[] {
    const { fields } = this;
    this.fields = new Map();
    const [data, id, type, retry, comment] = ['data', 'id', 'event', 'retry', ''].map((name) => fields.get(name));
    const event: EventFields = {
      ...(data === undefined ? {} : { data: this.valueOf(data) }),
      ...(id === undefined ? {} : { id }),
      ...(type === undefined ? {} : { type }),
      ...(retry === undefined ? {} : { retry: Number(retry) }),
      ...(comment === undefined ? {} : { comment }),
    };
    return Object.keys(event).length === 0 ? [] : [event];
  }

  private valueOf(data: string): unknown {
    if (!this.json) {
      return data;
    }
    try {
      return JSON.parse(data) as unknown;
    } catch {
      // Text, then.
      return data;
    }
  }
}
