import { lost } from './attempt.js';
import { StreamClientError, StreamResponseError } from './errors.js';

/** What a parser has read: an event, or a part of one. */
export interface Received {
  id?: string | undefined;
  type?: string | undefined;
  data?: unknown;
  /** The data of an event of Server-Sent Events, as it was received. */
  text?: string | undefined;
  retry?: number | undefined;
  /** The stream ends with this error. */
  error?: unknown;
  /** Set at the clean end of a response. `true`: it is a response to a long poll, which another one follows. */
  next?: boolean;
}

/** Called with each piece of a body, and without one at its end. Returns what the piece completes. */
export type Parser = (text?: string) => Received[];

/** Called with each line. Returns how many characters of an event are held that is not complete. */
type OnLine = (line: string, read: Received[]) => number;

/** Returns a parser that splits text into lines, wherever the network has split it. */
function lineParser(limit: number, onLine: OnLine): Parser {
  let rest = '';
  let held = 0;
  let last = '';
  return (text) => {
    const read: Received[] = [];
    let index = 0;
    // The end of a body completes the last line, but no event.
    const piece = text ?? (rest && '\n');
    // Without the second half of a CR LF. To split at a string is several times as fast, and most text has no CR.
    const lines = piece.slice(+(last + piece[0] === '\r\n')).split(/\r/.test(piece) ? /\r\n?|\n/ : '\n');
    last = piece.slice(-1) || last;
    try {
      for (const line of lines) {
        rest += line;
        demandLength(rest.length + held, limit);
        if (++index < lines.length) {
          held = onLine(rest, read);
          rest = '';
        }
      }
      if (text === undefined && held) {
        throw 'too early';
      }
    } catch (error) {
      // After what was complete. Some proxies end the body cleanly if their own connection is lost.
      read.push({ error: text === undefined ? lost(error) : error });
    }
    return read;
  };
}

/** @throws {@link StreamClientError} `too-large` */
export function demandLength(length: number, limit: number): void {
  if (length > limit) {
    throw new StreamClientError('too-large', `Over ${limit} characters`);
  }
}

/** Reads Server-Sent Events (WHATWG HTML §9.2.6). */
export function sseParser(limit: number): Parser {
  let text = '';
  let type = '';
  let id: string | undefined;
  return lineParser(limit, (line, read) => {
    const [head, name] = /^([^:]*):? ?/.exec(line) as unknown as [string, string];
    const value = line.slice(head.length);
    if (!line) {
      // An id takes effect even if the event has no data.
      read.push(text ? { id, type: type || undefined, text: text.slice(0, -1) } : { id });
      text = type = '';
      id = undefined;
    } else if (name === 'data') {
      text += `${value}\n`;
    } else if (name === 'event') {
      type = value;
    } else if (name === 'id' && !value.includes('\0')) {
      id = value;
    } else if (name === 'retry' && /^\d+$/.test(value)) {
      read.push({ retry: +value });
    }
    // Also if only an id has come: an event that is not complete means that the body was cut off.
    return text.length + +!!name;
  });
}

/** Reads lines of JSON: those of NDJSON, and of a JSON text sequence (RFC 7464), in which each line begins with a record separator. */
export function jsonParser(limit: number, toRecord: (value: unknown) => Received = recordOf): Parser {
  return lineParser(limit, (line, read) => {
    const text = line.replace('\x1e', '');
    if (text.trim()) {
      read.push(toRecord(json(text)));
    }
    return 0;
  });
}

function json(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new StreamClientError('invalid-data', `No JSON: ${error}`, error);
  }
}

/** Returns the value of a text that may be JSON, or the text. */
export function jsonOrText(text: string): unknown {
  try {
    return json(text);
  } catch {
    return text;
  }
}

/** The records that the server adds to those of the application, and a key that they have. */
const OWN: Readonly<Record<string, string>> = { error: 'statusCode', reset: 'reason', lagged: 'dropped' };

/** Returns a value as data, or as what a record such as `{"reset":{…}}` means. */
function recordOf(value: unknown): Received {
  const record = Object(value) as Record<string, unknown>;
  for (const type in OWN) {
    const data = Object(record[type]) as Record<string, unknown>;
    // The keys last: a long text or array has many.
    if (data[OWN[type] as string] !== undefined && Object.keys(record).length < 2) {
      return type === 'error' ? { error: new StreamResponseError('failed', data) } : { type, data };
    }
  }
  return { data: value };
}
