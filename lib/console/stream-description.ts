import type { ObservedStream } from '../connection/registry/stream-observer.js';
import { clientOf, type PlatformRequest, pathOf } from './incoming.js';

/** The longest text that is kept or sent: clients choose their user agent and path. */
const LONGEST_TEXT = 160;

/** What the page shows of every stream, open or not. */
export interface StreamDescription {
  readonly id: string;
  readonly route: string;
  /** Without the query. */
  readonly path: string;
  readonly protocol: string;
  /** Empty if it was never decided. */
  readonly format: string;
  readonly client: string;
  readonly agent: string;
  /** The labels as text, such as `user=u1 room=r1`. Empty if it has none. */
  readonly labels: string;
}

/** The names of protocols on the page. */
export const PROTOCOLS: Readonly<Record<ObservedStream['protocol'], string>> = {
  'http/1.1': 'HTTP/1.1',
  'http/2': 'HTTP/2',
  websocket: 'WebSocket',
};

export function descriptionOf(stream: ObservedStream, client = clientOf(stream.request)): StreamDescription {
  const { id, route, format = '', protocol, request } = stream;
  return {
    id,
    route,
    path: short(pathOf(request)),
    protocol: PROTOCOLS[protocol],
    format,
    client: short(client),
    agent: short((request as PlatformRequest).headers['user-agent'] ?? ''),
    labels: short(labelsText(stream)),
  };
}

/** Returns the labels of a stream as text. */
export function labelsText({ labels }: Pick<ObservedStream, 'labels'>): string {
  return Object.entries(labels)
    .map(([name, value]) => `${name}=${value}`)
    .join(' ');
}

/** Returns the beginning of a text. It is a copy: a slice would keep the whole text in memory, such as that of a long error message. */
export function short(text: string): string {
  return text.length > LONGEST_TEXT ? Buffer.from(`${text.slice(0, LONGEST_TEXT)}…`).toString() : text;
}
