import { connect } from '../connect.js';
import { StreamClientError } from '../errors.js';
import type { ClientStream } from '../options.js';
import { holdLock, onReleased } from './locks.js';
import {
  errorOf,
  OPEN,
  type OpenRequest,
  type Part,
  type PlainError,
  type Port,
  plain,
  type ToTab,
  type ToWorker,
} from './messages.js';

/** How many parts may wait for a tab. If there are more, the tab is too slow, and its items are dropped. */
const MOST_WAITING = 1_000;

/** The part of a `SharedWorkerGlobalScope` that is used. */
interface WorkerScope {
  addEventListener(type: 'connect', listener: (event: { readonly ports: readonly Port[] }) => void): void;
}

type Answer = Extract<ToWorker, { type: 'answer' }>;

/** The streams that are open, by their URL and options. */
const streams = new Map<string, SharedStream>();
/** The lock of this worker. */
let lock: Promise<string | undefined> | undefined;

/**
 * Lets the tabs of an origin share connections: each stream has one, for all tabs that receive it with the function `connectShared()`. Call it once, in the script of
 * a `SharedWorker`, and not after an `await`.
 *
 * @example
 * ```ts
 * // streams.worker.ts
 * import { shareStreams } from 'nestjs-streaming/client/shared';
 *
 * shareStreams();
 * ```
 */
export function shareStreams(): void {
  (globalThis as unknown as WorkerScope).addEventListener('connect', ({ ports }) => ports.forEach(servePort));
}

/** Serves the streams that are requested on a port. */
export function servePort(port: Port): void {
  lock ??= holdLock();
  port.onmessage = (event: { readonly data: unknown; readonly ports?: readonly Port[] }) => {
    const request = event.data as OpenRequest | undefined;
    const own = event.ports?.[0];
    if (request?.type === OPEN && own) {
      open(request, own);
    }
  };
}

function open(request: OpenRequest, port: Port): void {
  const key = JSON.stringify([request.url, request.options, request.asks]);
  try {
    const stream = streams.get(key) ?? new SharedStream(key, request);
    stream.add(new Tab(port, request.lock, (tab) => stream.remove(tab)));
  } catch (error) {
    // Such as a worker without WebSocket.
    const end: Part = { name: 'end', error: plain(error), id: '' };
    port.postMessage({ type: 'parts', parts: [end] } satisfies ToTab);
  }
}

/** One connection, and the tabs that receive its items. */
class SharedStream {
  readonly #key: string;
  readonly #tabs = new Set<Tab>();
  readonly #stream: ClientStream;
  #begun = false;

  constructor(key: string, { url, options, asks }: OpenRequest) {
    this.#key = key;
    this.#stream = connect(url, asks ? { ...options, headers: () => this.#ask() } : options);
    streams.set(key, this);
    this.#stream.on('reset', (value) => this.#deliver({ name: 'reset', value, id: this.#id }));
    this.#stream.on('lagged', (value) => this.#deliver({ name: 'lagged', value, id: this.#id }));
    this.#stream.on('state', (value, error) => {
      if (value !== 'closed') {
        this.#deliver({ name: 'state', value, error: error === undefined ? undefined : plain(error), id: this.#id });
      }
    });
  }

  add(tab: Tab): void {
    this.#tabs.add(tab);
    if (this.#begun) {
      tab.push({ name: 'state', value: this.#stream.state, id: this.#id });
    } else {
      this.#begun = true;
      void this.#read();
    }
  }

  /** The last tab that leaves closes the connection. */
  remove(tab: Tab): void {
    this.#tabs.delete(tab);
    if (this.#tabs.size === 0) {
      this.#forget();
      this.#stream.close();
    }
  }

  get #id(): string {
    return this.#stream.lastEventId;
  }

  #forget(): void {
    if (streams.get(this.#key) === this) {
      streams.delete(this.#key);
    }
  }

  async #read(): Promise<void> {
    let error: PlainError | undefined;
    try {
      for await (const value of this.#stream) {
        this.#deliver({ name: 'item', value, id: this.#id });
      }
    } catch (thrown) {
      error = plain(thrown);
    }
    // A tab that comes from now on begins the stream again.
    this.#forget();
    this.#deliver({ name: 'end', error, id: this.#id });
  }

  #deliver(part: Part): void {
    for (const tab of this.#tabs) {
      tab.push(part);
    }
  }

  /** Asks all tabs for the headers, and takes the first answer: some of them may be suspended. */
  #ask(): Promise<[string, string][]> {
    return Promise.any([...this.#tabs].map((tab) => tab.ask())).catch((error: AggregateError) => {
      throw error.errors[0];
    });
  }
}

/** A stream in a tab. */
class Tab {
  readonly #port: Port;
  readonly #onLeave: (tab: Tab) => void;
  readonly #gone = new AbortController();
  readonly #questions = new Map<number, (answer: Answer) => void>();
  #asked = 0;
  #waiting: Part[] = [];
  #pulled = false;

  constructor(port: Port, tabLock: string | undefined, onLeave: (tab: Tab) => void) {
    this.#port = port;
    this.#onLeave = onLeave;
    port.onmessage = ({ data }) => this.#onMessage(data);
    port.addEventListener('close', () => this.#leave());
    onReleased(tabLock, this.#gone.signal, () => this.#leave());
    void lock?.then((name) => name !== undefined && this.#send({ type: 'lock', lock: name }));
  }

  /** Sends what has happened, as soon as the tab asks for it. */
  push(part: Part): void {
    this.#waiting.push(part);
    if (this.#waiting.length > MOST_WAITING) {
      this.#drop();
    }
    this.#flush();
  }

  ask(): Promise<[string, string][]> {
    return new Promise((resolve, reject) => {
      const question = ++this.#asked;
      this.#questions.set(question, ({ headers = [], error }) => (error ? reject(errorOf(error)) : resolve(headers)));
      this.#send({ type: 'ask', question });
    });
  }

  #onMessage(message: ToWorker): void {
    if (message.type === 'pull') {
      this.#pulled = true;
      this.#flush();
    } else if (message.type === 'close') {
      this.#leave();
    } else {
      this.#questions.get(message.question)?.(message);
      this.#questions.delete(message.question);
    }
  }

  #flush(): void {
    if (this.#pulled && this.#waiting.length > 0) {
      this.#pulled = false;
      this.#send({ type: 'parts', parts: this.#waiting.splice(0) });
    }
  }

  /** Drops all items that wait, and says how many. Of everything else, the last one is kept: a `reset` says more than that items are missing. */
  #drop(): void {
    let dropped = 0;
    const kept = new Map<Part['name'], Part>();
    for (const part of this.#waiting) {
      if (part.name === 'item') {
        dropped++;
      } else {
        dropped += part.name === 'lagged' ? (part.value as { readonly dropped: number }).dropped : 0;
        kept.set(part.name, part);
      }
    }
    const id = this.#waiting.at(-1)?.id ?? '';
    kept.set('lagged', { name: 'lagged', value: { dropped }, id });
    this.#waiting = (['reset', 'lagged', 'state', 'end'] as const).flatMap((name) => kept.get(name) ?? []);
  }

  #leave(): void {
    if (!this.#gone.signal.aborted) {
      this.#gone.abort();
      this.#port.close();
      for (const [question, onAnswer] of this.#questions) {
        onAnswer({ type: 'answer', question, error: plain(new StreamClientError('network', 'The tab was closed')) });
      }
      this.#onLeave(this);
    }
  }

  #send(message: ToTab): void {
    this.#port.postMessage(message);
  }
}
