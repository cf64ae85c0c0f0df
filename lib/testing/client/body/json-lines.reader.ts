import { AssertionError } from 'node:assert';
import { jsonValue, shortened } from './json-value.js';
import type { EventFields, TextReader } from './streamed-event.js';

/** Splits text that is received in pieces into lines. */
class Lines {
  private rest = '';
  private count = 0;

  /** Returns the events of the lines that a piece of text completes. */
  read(text: string, event: (line: string, number: number) => EventFields): EventFields[] {
    const [head = '', ...lines] = text.split('\n');
    this.rest += head;
    const last = lines.pop();
    if (last === undefined) {
      return [];
    }
    const first = this.rest;
    this.rest = last;
    return [first, ...lines].map((line) => event(line, ++this.count));
  }

  /** Returns the event of the last line, if it did not end with a line feed. */
  end(event: (line: string, number: number) => EventFields): EventFields[] {
    return this.rest === '' ? [] : [event(this.rest, ++this.count)];
  }
}

/** Returns the event of a line with one JSON value. An empty line is a heartbeat. */
function eventOf(line: string, number: number): EventFields {
  return line.trim() === '' ? { comment: '' } : { data: jsonValue(line, `Line ${number} of the body`) };
}

/** NDJSON: one JSON value per line. */
export class NdjsonReader implements TextReader {
  private readonly lines = new Lines();

  read(text: string): EventFields[] {
    return this.lines.read(text, eventOf);
  }

  end(): EventFields[] {
    return this.lines.end(eventOf);
  }
}

const RECORD_SEPARATOR = '\x1e';

/** JSON text sequences (RFC 7464 §2.2): a record separator before each value, a line feed after it. A separator without a value is a heartbeat. */
export class JsonSeqReader implements TextReader {
  private readonly lines = new Lines();

  read(text: string): EventFields[] {
    return this.lines.read(text, recordOf);
  }

  end(): EventFields[] {
    // The last record may be a heartbeat.
    return this.lines.end(recordOf).filter((event) => event.comment === undefined);
  }
}

function recordOf(line: string, number: number): EventFields {
  if (!line.startsWith(RECORD_SEPARATOR)) {
    throw new AssertionError({ message: `A JSON text has no record separator before it: ${shortened(line)}` });
  }
  return eventOf(line.replaceAll(RECORD_SEPARATOR, ''), number);
}
