import { StreamClientError } from './errors.js';

/** What a parser has read: an event, or a part of one. */
export interface Received {
  id?: string | undefined;
  type?: string | undefined;
  data?: unknown;
  retry?: number;
  /** The body of an error record. */
  failed?: unknown;
}

/** Called with each piece of a body. Returns what the piece completes. */
export type Parser = (text: string) => Received[];

/** Called with each line. Returns how many characters of an event are held that is not complete. */
type OnLine = (line: string) => number;

/**
 * Returns a parser that splits text into lines, wherever the network has split it.
 * @param onLineOf returns what is called with each line, and adds what it reads to `read`
 */
function lineParser(ends: RegExp, limit: number, onLineOf: (add: (read: Received) => void) => OnLine): Parser {
  let read: Received[] = [];
  let rest = '';
  let held = 0;
  let afterCr = false;
  const onLine = onLineOf((each) => read.push(each));
  return (text) => {
    read = [];
    for (let at = 0; at < text.length; ) {
      if (afterCr && text[at] === '\n') {
        at++;
      }
      afterCr = false;
      ends.lastIndex = at;
      const end = ends.exec(text)?.index ?? text.length;
      // Only what is new is searched: text that comes in small pieces is not searched again and again.
      rest += text.slice(at, end);
      if (rest.length + held > limit) {
        throw new StreamClientError('too-large', `An event has more than ${limit} characters (maxEventLength)`);
      }
      if (end < text.length) {
        afterCr = text[end] === '\r';
        held = onLine(rest);
        rest = '';
      }
      at = end + 1;
    }
    return read;
  };
}

/** Reads Server-Sent Events (WHATWG HTML §9.2.6). `data` is what `toData` returns for its text. */
export function sseParser(limit: number, toData: (text: string) => unknown): Parser {
  return lineParser(/[\r\n]/g, limit, (add) => {
    let data = '';
    let type = '';
    let id: string | undefined;
    return (line) => {
      const [, name, value = ''] = /^([^:]*)(?::? ?(.*))$/s.exec(line) ?? [];
      if (line === '') {
        if (data || id !== undefined) {
          add(data ? { id, type: type || undefined, data: toData(data.slice(0, -1)) } : { id });
        }
        data = type = '';
        id = undefined;
      } else if (name === 'data') {
        data += `${value}\n`;
      } else if (name === 'event') {
        type = value;
      } else if (name === 'id' && !value.includes('\0')) {
        id = value;
      } else if (name === 'retry' && /^\d+$/.test(value)) {
        add({ retry: Number(value) });
      }
      return data.length;
    };
  });
}

/** Reads NDJSON. */
export function ndjsonParser(limit: number): Parser {
  return lineParser(/\n/g, limit, (add) => (line) => {
    if (line.trim()) {
      add(recordOf(json(line)));
    }
    return 0;
  });
}

/** Reads a JSON text sequence (RFC 7464): each text begins with a record separator, and ends with a line feed. */
export function jsonSeqParser(limit: number): Parser {
  return lineParser(/\n/g, limit, (add) => {
    let held = '';
    return (line) => {
      const texts = (held + line).split('\x1e');
      held = '';
      texts.forEach((text, index) => {
        try {
          if (text.trim()) {
            add(recordOf(json(text)));
          }
        } catch (error) {
          // Only the last text may go on: it may contain line feeds.
          if (index < texts.length - 1) {
            throw error;
          }
          held = `${text}\n`;
        }
      });
      return held.length;
    };
  });
}

/** Parses JSON. */
export function json(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new StreamClientError('invalid-data', `Not JSON: ${text.slice(0, 100)}`, error);
  }
}

export function jsonOrText(text: unknown): unknown {
  try {
    return JSON.parse(text as string);
  } catch {
    return text;
  }
}

/** The records that the server adds to those of the application, and a key that they have. */
const OWN = [
  ['error', 'statusCode'],
  ['reset', 'reason'],
  ['lagged', 'dropped'],
] as const;

/** Returns a value as data, or as what a record such as `{"reset":{…}}` means. */
function recordOf(data: unknown): Received {
  for (const [type, key] of OWN) {
    const body = (data as Record<string, Record<string, unknown> | null> | null)?.[type];
    if (body?.[key] !== undefined && Object.keys(data as object).length === 1) {
      return type === 'error' ? { failed: body } : { type, data: body };
    }
  }
  return { data };
}
