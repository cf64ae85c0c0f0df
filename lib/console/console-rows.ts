import type { OpenStream } from '../connection/open-stream.js';
import type { ConsoleQuery } from './console-query.js';
import { highest } from './highest.js';
import { clientOf, pathOf } from './incoming.js';
import { descriptionOf, labelsText, PROTOCOLS, type StreamDescription, short } from './stream-description.js';

/** The maximum number of connections that are shown. It limits the size of a snapshot. */
const SHOWN = 50;

/** The part of the id of a chunk with which a client can join the run of a route. */
const SECRET = /^[\w-]{22}(?=\.|$)/;

/** One connection in the form that the page shows. */
interface ConsoleRow extends StreamDescription {
  readonly state: string;
  /** In seconds. */
  readonly age: number;
  readonly bytes: number;
  /** In bytes. */
  readonly queue: number;
  readonly last: string;
  /** Whether it is a feed of the console itself. */
  readonly own: boolean;
}

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
  const found = filter === '' ? streams : streams.filter((stream) => matches(stream, filter));
  const rows = highest(found, SHOWN, RANK[sort]).map((stream) => rowOf(stream, look.now, look.isOwn(stream)));
  return { matching: found.length, rows };
}

/** Returns whether a stream contains the text of a filter, or has the id after a `#`. */
function matches(stream: OpenStream, filter: string): boolean {
  return filter.startsWith('#') ? filter === `#${stream.id}` : textOf(stream).toLowerCase().includes(filter);
}

function textOf(stream: OpenStream): string {
  const { id, route, format, request, protocol } = stream;
  return `${id} ${route} ${format} ${pathOf(request)} ${PROTOCOLS[protocol]} ${clientOf(request)} ${labelsText(stream)}`;
}

function rowOf(stream: OpenStream, now: number, own: boolean): ConsoleRow {
  const { state, beganAt, body, bufferedAmount, reader, lastEventId } = stream;
  return {
    ...descriptionOf(stream),
    state,
    age: Math.max(0, Math.round((now - beganAt) / 1000)),
    bytes: body.bytes,
    queue: bufferedAmount,
    last: short((reader?.lastId ?? lastEventId ?? '').replace(SECRET, '…')),
    own,
  };
}
