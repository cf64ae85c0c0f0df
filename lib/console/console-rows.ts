import type { OpenStream } from '../connection/open-stream.js';
import type { ConsoleQuery } from './console-query.js';
import { clientOf, incomingOf, pathOf } from './incoming.js';

/** The greatest number of connections that are shown. It limits the size of a snapshot. */
const SHOWN = 50;
/** The greatest length of a text in a row. Clients choose their user agent and path. */
const LONGEST_TEXT = 160;

/** One connection in the form that the page shows. */
interface ConsoleRow {
  readonly id: string;
  readonly route: string;
  readonly path: string;
  readonly protocol: string;
  readonly format: string;
  readonly state: string;
  /** In seconds. */
  readonly age: number;
  readonly bytes: number;
  /** In bytes. */
  readonly queue: number;
  readonly last: string;
  readonly client: string;
  readonly agent: string;
  /** Whether it is a feed of the console itself. */
  readonly own: boolean;
}

/** The names of protocols on the page. */
export const PROTOCOLS: Readonly<Record<OpenStream['protocol'], string>> = {
  'http/1.1': 'HTTP/1.1',
  'http/2': 'HTTP/2',
  websocket: 'WebSocket',
};

const RANK: Readonly<Record<ConsoleQuery['sort'], (stream: OpenStream) => number>> = {
  newest: ({ beganAt }) => beganAt,
  oldest: ({ beganAt }) => -beganAt,
  bytes: ({ body }) => body.bytes,
  queue: ({ bufferedAmount }) => bufferedAmount,
};

/** Returns the number of streams that match, and the first of them as rows. */
export function rowsOf(
  streams: readonly OpenStream[],
  { filter, sort }: ConsoleQuery,
  look: { readonly now: number; readonly isOwn: (stream: OpenStream) => boolean },
): { readonly matching: number; readonly rows: readonly ConsoleRow[] } {
  const found = filter === '' ? streams : streams.filter((stream) => textOf(stream).toLowerCase().includes(filter));
  const rows = highest(found, RANK[sort]).map((stream) => rowOf(stream, look.now, look.isOwn(stream)));
  return { matching: found.length, rows };
}

/** Returns the streams with the highest rank, in order, without sorting all streams. */
function highest(streams: readonly OpenStream[], rank: (stream: OpenStream) => number): OpenStream[] {
  const best: { readonly stream: OpenStream; readonly rank: number }[] = [];
  for (const stream of streams) {
    const own = rank(stream);
    const last = best[SHOWN - 1];
    if (last === undefined || own > last.rank) {
      const at = best.findIndex((other) => own > other.rank);
      best.splice(at < 0 ? best.length : at, 0, { stream, rank: own });
      best.length = Math.min(best.length, SHOWN);
    }
  }
  return best.map(({ stream }) => stream);
}

function textOf({ id, route, format, request, protocol }: OpenStream): string {
  return `${id} ${route} ${format} ${pathOf(request)} ${PROTOCOLS[protocol]} ${clientOf(request)}`;
}

function rowOf(stream: OpenStream, now: number, own: boolean): ConsoleRow {
  const { id, route, request, state, format, beganAt, body, bufferedAmount, reader, lastEventId } = stream;
  return {
    id,
    route,
    path: short(pathOf(request)),
    protocol: PROTOCOLS[stream.protocol],
    format: format ?? '',
    state,
    age: Math.max(0, Math.round((now - beganAt) / 1000)),
    bytes: body.bytes,
    queue: bufferedAmount,
    last: short(reader?.lastId ?? lastEventId ?? ''),
    client: short(clientOf(request)),
    agent: short(incomingOf(request).headers['user-agent'] ?? ''),
    own,
  };
}

function short(text: string): string {
  return text.length > LONGEST_TEXT ? `${text.slice(0, LONGEST_TEXT)}…` : text;
}
