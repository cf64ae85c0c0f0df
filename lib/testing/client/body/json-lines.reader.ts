import { AssertionError } from 'node:assert';
import type { TextReader } from './body-reader.js';
import { jsonValue, shortened } from './json-value.js';
import type { EventFields } from './streamed-event.js';

/** NDJSON: one JSON value a line. An empty line is a heartbeat. */
export class NdjsonReader implements TextReader {
  private line = 0;
  private rest = '';

  read(text: string): EventFields[] {
    const [head = '', ...lines] = text.split('\n');
    this.rest += head;
    const last = lines.pop();
    if (last === undefined) {
      return [];
    }
    const first = this.rest;
    this.rest = last;
    return [first, ...lines].map((line) => this.event(line));
  }

  end(): EventFields[] {
    return this.rest === '' ? [] : [this.event(this.rest)];
  }

  protected event(line: string): EventFields {
    this.line++;
    return line.trim() === '' ? { comment: '' } : { data: jsonValue(line, `Line ${this.line} of the body`) };
  }
}

const RECORD_SEPARATOR = '\x1e';

/** JSON text sequences (RFC 7464 §2.2): a record separator before each value, a line feed behind it. Lone separators are heartbeats. */
export class JsonSeqReader extends NdjsonReader {
  protected override event(line: string): EventFields {
    if (!line.startsWith(RECORD_SEPARATOR)) {
      throw new AssertionError({ message: `A JSON text has no record separator before it: ${shortened(line)}` });
    }
    return super.event(line.replaceAll(RECORD_SEPARATOR, ''));
  }

  override end(): EventFields[] {
    // What comes last may be a heartbeat.
    return super.end().filter((event) => event.comment === undefined);
  }
}
