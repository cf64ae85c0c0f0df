// Runs in Chromium and in Node.js: esbuild bundles this file with the clients.
import { fetchEventSource } from '@microsoft/fetch-event-source';
import { EventSource as NodeEventSource } from 'eventsource-5';
import { connect, StreamResponseError, type StreamTransport } from '../../../lib/client/index.js';

/** What a client reports. */
export type Report =
  | { readonly kind: 'item'; readonly n: number }
  /** It has lost the connection, or was refused, and goes on. */
  | { readonly kind: 'problem'; readonly text: string }
  /** It waits before it connects again, in milliseconds. */
  | { readonly kind: 'wait'; readonly ms: number }
  /** It has given up, or takes the stream for complete. */
  | { readonly kind: 'over'; readonly how: 'ended' | 'error'; readonly text: string };

export interface Settings {
  readonly method?: 'POST';
  /** Ours: `pause` while the page is hidden. */
  readonly hidden?: 'pause';
  readonly as?: StreamTransport;
  /** Ours: whether it connects again at once. */
  readonly atOnce?: true;
}

/** What a place provides. */
export interface Environment {
  /** Returns the token of the user, as it is now. */
  token(): string;
  report(report: Report): void;
  /** Used if the place has none of its own. */
  readonly WebSocket?: new (
    url: string,
    protocols: string[],
  ) => object;
  readonly fetch: typeof fetch;
}

/** Starts a client. Returns a function that stops it. */
export type Start = (url: string, settings: Settings, environment: Environment) => () => void;

/** The part of the generated client of hey-api that is used. */
export type CreateHeyApiClient = (config: object) => {
  readonly sse: Record<'get' | 'post', (options: object) => Promise<{ readonly stream: AsyncIterable<{ n: number }> }>>;
};

export const BODY = { ask: 'once' };
/** How long a connection of ours may be silent, in milliseconds. The server sends heartbeats more often. */
const IDLE_MS = 2_000;
/** How long clients wait before they connect again if they have no `retry:` from the server yet, in milliseconds. */
const RETRY_MS = 20;
/** A test does not wait longer, in milliseconds, also if a client would. */
const MOST_MS = 200;

const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

export const ours: Start = (url, { method, hidden, as, atOnce }, { token, report, WebSocket, fetch }) => {
  const isSocket = as === 'ws';
  const withTicket = (): string => `${url}?token=${token()}`;
  const stream = connect<{ n: number }>(isSocket ? withTicket : url, {
    method,
    as,
    hidden,
    WebSocket,
    fetch,
    idle: IDLE_MS,
    body: method && BODY,
    headers: isSocket ? undefined : () => ({ authorization: `Bearer ${token()}` }),
    retry: { base: atOnce ? 0 : RETRY_MS },
  });
  stream.on('state', (state, error) => {
    if (state === 'waiting') {
      report({ kind: 'problem', text: textOf(error) });
    }
  });
  const read = async (): Promise<void> => {
    try {
      for await (const { data } of stream) {
        report({ kind: 'item', n: data.n });
      }
      report({ kind: 'over', how: 'ended', text: '' });
    } catch (error) {
      const text = error instanceof StreamResponseError ? `status ${error.status}` : textOf(error);
      report({ kind: 'over', how: 'error', text });
    }
  };
  void read();
  return () => stream.close();
};

export const fetchEventSourceClient: Start = (url, { method }, { token, report, fetch }) => {
  const controller = new AbortController();
  fetchEventSource(url, {
    method: method ?? 'GET',
    body: method && JSON.stringify(BODY),
    headers: { authorization: `Bearer ${token()}`, ...(method && { 'content-type': 'application/json' }) },
    signal: controller.signal,
    fetch,
    onmessage: ({ data, event }) => {
      if (event === '' && data !== '') {
        report({ kind: 'item', n: JSON.parse(data).n });
      }
    },
    onerror: (error) => report({ kind: 'problem', text: textOf(error) }),
  }).then(
    () => report({ kind: 'over', how: 'ended', text: '' }),
    (error: unknown) => report({ kind: 'over', how: 'error', text: textOf(error) }),
  );
  return () => controller.abort();
};

interface EventSourceLike {
  readonly readyState: number;
  onmessage: ((event: { readonly data: string }) => void) | null;
  onerror: ((event: { readonly message?: string }) => void) | null;
  close(): void;
}

function follow(source: EventSourceLike, report: Environment['report']): () => void {
  source.onmessage = ({ data }) => report({ kind: 'item', n: JSON.parse(data).n });
  source.onerror = ({ message }) =>
    report(
      source.readyState === 2
        ? { kind: 'over', how: 'error', text: String(message) }
        : { kind: 'problem', text: String(message) },
    );
  return () => source.close();
}

export const eventSourcePackage: Start = (url, _settings, { token, report, fetch }) => {
  // As its README shows it: the only way to set headers.
  const withToken: typeof fetch = (input, init) =>
    fetch(input, {
      ...init,
      headers: { ...init?.headers, authorization: `Bearer ${token()}` } as Record<string, string>,
    });
  return follow(new NodeEventSource(url, { fetch: withToken as never }) as unknown as EventSourceLike, report);
};

export const browserEventSource: Start = (url, _settings, { report }) => {
  const { EventSource } = globalThis as unknown as { EventSource: new (url: string) => EventSourceLike };
  return follow(new EventSource(url), report);
};

export const heyApi =
  (createClient: CreateHeyApiClient): Start =>
  (url, { method }, { token, report, fetch }) => {
    const controller = new AbortController();
    const { origin, pathname } = new URL(url);
    const client = createClient({ baseUrl: origin, auth: token, fetch });
    const read = async (): Promise<void> => {
      const { stream } = await client.sse[method ? 'post' : 'get']({
        url: pathname,
        body: method && BODY,
        bodySerializer: JSON.stringify,
        security: [{ scheme: 'bearer', type: 'http' }],
        headers: method && { 'Content-Type': 'application/json' },
        signal: controller.signal,
        sseDefaultRetryDelay: RETRY_MS,
        sseSleepFn: (ms: number) => {
          report({ kind: 'wait', ms });
          return new Promise((resolve) => setTimeout(resolve, Math.min(ms, MOST_MS)));
        },
        onSseError: (error: unknown) => report({ kind: 'problem', text: textOf(error) }),
      });
      for await (const data of stream) {
        if (data?.n !== undefined) {
          report({ kind: 'item', n: data.n });
        }
      }
      report({ kind: 'over', how: 'ended', text: '' });
    };
    read().catch((error: unknown) => report({ kind: 'over', how: 'error', text: textOf(error) }));
    return () => controller.abort();
  };

/** Counts the responses and signals that a client still refers to. */
export class Tracker {
  private readonly refs: WeakRef<object>[] = [];

  readonly fetch: typeof fetch = async (input, init) => {
    const response = await globalThis.fetch(input, init);
    this.refs.push(new WeakRef(response));
    if (init?.signal) {
      this.refs.push(new WeakRef(init.signal));
    }
    return response;
  };

  /** Returns `undefined` if the client does not use this fetch(). */
  alive(): number | undefined {
    return this.refs.length === 0 ? undefined : this.refs.filter((ref) => ref.deref()).length;
  }
}
