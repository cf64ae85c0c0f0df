import { AssertionError } from 'node:assert';
import { shortened } from './json-value.js';
import type { EventFields, TextReader } from './streamed-event.js';

const END_OF_LINE = /\r\n|\r|\n/g;
/** The fields that are complete without an empty line after them. */
const COMPLETE = new Set(['', 'retry']);
/** The line of a heartbeat, at the beginning of a block. */
const HEARTBEAT = ':';

/**
 * Parses Server-Sent Events, one block at a time (WHATWG HTML §9.2.6). Unlike a browser, it also returns blocks without data, and throws if
 * the body ends within an event. A heartbeat before a block is a separate event.
 */
export class SseReader implements TextReader {
  private rest = '';
  /** The fields of the block that were received so far. */
  private fields = new Map<string, string>();
  private afterCr = false;
  /** Whether an event with an id was received. */
  private hasIds = false;

  constructor(private readonly json: boolean) {}

  read(text: string): EventFields[] {
    // A CR at the end of the previous piece has already ended its line: a LF after it ends no other line.
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
    if (this.rest === '' && [...this.fields.keys()].every((name) => COMPLETE.has(name))) {
      return this.dispatch();
    }
    const found = [...this.fields].map(([name, value]) => `${name}: ${value}`).concat(this.rest);
    throw new AssertionError({ message: `The body ends within an event: ${shortened(found.join('\n'))}` });
  }

  private line(line: string): EventFields[] {
    if (line === '') {
      return this.dispatch();
    }
    if (this.isBareComment(line)) {
      return [{ comment: line.slice(1).replace(/^ /, '') }];
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

  /** Returns whether a line is a separate comment, and not part of an event. In a stream with ids, the id of an event comes before its comment. */
  private isBareComment(line: string): boolean {
    return line.startsWith(':') && this.fields.size === 0 && (line === HEARTBEAT || this.hasIds);
  }

  private dispatch(): EventFields[] {
    const { fields } = this;
    this.fields = new Map();
    this.hasIds ||= fields.has('id');
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
      // Data that is not JSON is text.
      return data;
    }
  }
}
