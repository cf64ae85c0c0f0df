import { Attempt, after, type Ending, hrefOf, type StreamUrl } from './attempt.js';
import { StreamClientError, StreamResponseError } from './errors.js';
import { receiveOverHttp, toSend } from './http.js';
import type {
  ClientState,
  ClientStream,
  ConnectOptions,
  KeptId,
  StreamItem,
  StreamListeners,
  StreamTransport,
} from './options.js';
import { isHidden, onPageChange } from './page.js';
import { jsonOrText, type Received } from './records.js';
import { receiveOverSocket, type Socket } from './socket.js';

/** The reason with which an attempt is left while the page is hidden. */
const HIDDEN = 'hidden';
/** How long an id may be, in characters: proxies refuse longer headers. */
const LONGEST_ID = 4_096;
/** An empty response to a long poll that came faster did not wait, in milliseconds: the next poll must. */
const POLL_MS = 1_000;

/** How an attempt went. */
interface Outcome {
  /** When it began, in milliseconds. */
  readonly began: number;
  /** Whether anything came through: the transport works. */
  alive?: boolean;
  /** Whether an item came. */
  worked?: boolean;
  /** Whether the server has asked the client to come back, with `retry`. */
  asked?: boolean;
  ending?: Ending;
  error?: unknown;
}

/** What is kept from one attempt to the next. */
interface Progress {
  /** The number of the transport in the list. */
  turn: number;
  /** How many connections in a row have ended without an item. */
  failures: number;
  /** How long the server wants clients to wait, in milliseconds. */
  retry: number;
  /** Whether items came, so that they would come twice or be missing if the stream began again without an id. */
  begun?: boolean;
}

export class ItemReader<T> implements ClientStream<T> {
  state: ClientState = 'connecting';
  lastEventId = '';
  readonly #url: StreamUrl;
  readonly #options: ConnectOptions;
  readonly #transports: readonly StreamTransport[];
  readonly #kept: KeptId | undefined;
  readonly #listeners = new Set<readonly [name: string, listener: (...args: never) => void]>();
  readonly #progress: Progress = { turn: 0, failures: 0, retry: 0 };
  readonly #items = this.#read();
  #attempt: Attempt | undefined;
  #socket: Socket | undefined;
  /** The error with which the items end. */
  #error: unknown;
  /** Ends the wait for the next attempt. */
  #wake: (() => void) | undefined;

  constructor(url: StreamUrl, options: ConnectOptions, transports: readonly StreamTransport[], kept?: KeptId) {
    this.#url = url;
    this.#options = options;
    this.#transports = transports;
    this.#kept = kept;
  }

  on<K extends keyof StreamListeners>(name: K, listener: StreamListeners[K]): () => void {
    const entry = [name, listener] as const;
    this.#listeners.add(entry);
    return () => this.#listeners.delete(entry);
  }

  send(message: unknown): void {
    if (!this.#socket) {
      throw new StreamClientError('invalid-state', 'send() needs an open WebSocket: wait for the state "open"');
    }
    this.#socket.send(toSend(message));
  }

  close(): void {
    this.#finish();
  }

  next(): Promise<IteratorResult<StreamItem<T>, undefined>> {
    return this.#items.next();
  }

  return(): Promise<IteratorResult<StreamItem<T>, undefined>> {
    this.close();
    return this.#items.return(undefined);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #finish(error?: unknown): void {
    if (this.state !== 'closed') {
      this.#error = error;
      this.#change('closed', error);
      this.#attempt?.abort();
      this.#wake?.();
    }
  }

  async *#read(): AsyncGenerator<StreamItem<T>, undefined> {
    const { signal } = this.#options;
    const onAbort = (): void => this.#finish(signal?.reason);
    const forget = onPageChange(() => {
      this.#wake?.();
      if (this.#isPaused && this.#mayRepeat) {
        this.#attempt?.abort(HIDDEN);
      }
    });
    signal?.addEventListener('abort', onAbort);
    if (signal?.aborted) {
      onAbort();
    }
    try {
      this.lastEventId = (await this.#keep(() => this.#kept?.get())) || '';
      while (!this.#isOver) {
        yield* this.#receive();
      }
    } catch (error) {
      this.#finish(error);
    } finally {
      this.#finish();
      forget();
      signal?.removeEventListener('abort', onAbort);
    }
    if (this.#error) {
      throw this.#error;
    }
    return undefined;
  }

  get #isOver(): boolean {
    return this.state === 'closed';
  }

  get #isPaused(): boolean {
    return this.#options.hidden === 'pause' && isHidden();
  }

  /** Whether the request may be sent again. If its method is not safe (RFC 9110 §9.2.1), only an id lets the server tell the two requests apart. */
  get #mayRepeat(): boolean | undefined {
    const { method = 'get', retry } = this.#options;
    return /^(get|head|options)$/i.test(method) || this.lastEventId !== '' || retry?.unsafe;
  }

  /** Receives items with one request, and waits until there may be another one. */
  async *#receive(): AsyncGenerator<StreamItem<T>> {
    if (this.#isPaused) {
      this.#change('waiting');
      await this.#sleep(Infinity);
      return;
    }
    const attempt = new Attempt(this.#options, this.lastEventId);
    const outcome: Outcome = { began: Date.now() };
    let records: AsyncGenerator<Received[], Ending> | undefined;
    this.#attempt = attempt;
    this.#change('connecting');
    try {
      const url = hrefOf(await attempt.fresh(this.#url));
      const transport = this.#transports[this.#progress.turn] as StreamTransport;
      records =
        transport === 'ws'
          ? receiveOverSocket(attempt, url, (socket) => {
              this.#socket = socket;
            })
          : receiveOverHttp(attempt, url, transport);
      let step = await records.next();
      for (; !step.done; step = await records.next()) {
        // The head of a response alone may be all that a proxy lets through.
        outcome.alive = this.state === 'open' || step.value.length > 0;
        this.#opened();
        yield* this.#accept(step.value, outcome);
      }
      outcome.ending = step.value;
    } catch (error) {
      outcome.error = error;
    } finally {
      attempt.abort();
      this.#attempt = undefined;
      await records?.return('end');
    }
    if (!this.#isOver && outcome.error !== HIDDEN) {
      await this.#continue(attempt.id, outcome);
    }
  }

  #opened(): void {
    if (this.state !== 'open') {
      this.#change('open');
      if (this.#progress.begun && !this.lastEventId) {
        this.#progress.begun = false;
        this.#emit('reset', { reason: 'no-id', oldest: null });
      }
    }
  }

  async *#accept(records: readonly Received[], outcome: Outcome): AsyncGenerator<StreamItem<T>> {
    for (const { id, type, data, retry, failed } of records) {
      if (this.#isOver) {
        return;
      }
      this.#move(id);
      if (retry !== undefined) {
        this.#progress.retry = retry;
        outcome.asked = true;
      }
      if (failed || (type && type === (this.#options.errorEvent ?? 'error'))) {
        const body = failed ?? jsonOrText(data);
        throw new StreamResponseError('failed', (body as { statusCode?: number } | null)?.statusCode ?? 500, body);
      }
      if (type === 'reset' || type === 'lagged') {
        this.#emit(type, jsonOrText(data));
      } else if (data !== undefined && type !== 'position' && type !== 'shutdown') {
        outcome.worked = this.#progress.begun = true;
        yield { id, type, data: data as T };
      }
      // Only now: whoever reloads the page while an item is being processed receives it again.
      if (id !== undefined) {
        await this.#keep(() => this.#kept?.set(id));
      }
    }
  }

  /** Sets the id after which the stream resumes. */
  #move(id = this.lastEventId): void {
    if (id.length > LONGEST_ID) {
      throw new StreamClientError('too-large', `An id has ${id.length} characters, more than ${LONGEST_ID}`);
    }
    this.lastEventId = this.#options.resume === false ? '' : id;
  }

  /** Waits until the next attempt, or finishes. Throws if there must be none. */
  async #continue(id: string, { ending, error, began, alive, worked, asked }: Outcome): Promise<void> {
    const lived = Date.now() - began;
    if (ending === 'again') {
      this.#move(id);
      if (worked || lived > POLL_MS) {
        return;
      }
    } else if (ending && !(asked && this.#mayRepeat)) {
      // The next stream begins at the beginning.
      await this.#keep(() => this.#kept?.set(''));
      this.close();
      return;
    }
    const progress = this.#progress;
    if (error) {
      if (!isTemporary(error) || !this.#mayRepeat) {
        throw error;
      }
      if (!alive) {
        progress.turn = (progress.turn + 1) % this.#transports.length;
        if (progress.turn > 0) {
          return;
        }
      }
    }
    const { base = 500, max = 30_000, attempts = Infinity } = this.#options.retry ?? {};
    const longest = (): number => Math.min(max, base * 2 ** (progress.failures - 1));
    // A server that closes each connection at once is not asked more and more often.
    progress.failures = worked || lived > longest() ? 1 : progress.failures + 1;
    if (progress.failures > attempts) {
      throw error ?? new StreamClientError('network', 'The server wants to be asked again, too often');
    }
    this.#change('waiting', error);
    // Full jitter, so that clients do not all come back at once.
    await this.#sleep(
      ((error as Partial<StreamResponseError>)?.retryAfter ?? progress.retry) + Math.random() * longest(),
    );
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = after(ms, resolve);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  /** Calls a function of the option `resume`. */
  async #keep<V>(call: () => V): Promise<Awaited<V> | undefined> {
    try {
      return await call();
    } catch (error) {
      this.#emit('warning', error);
    }
    return undefined;
  }

  #change(state: ClientState, error?: unknown): void {
    this.state = state;
    this.#emit('state', state, error);
  }

  #emit(name: keyof StreamListeners, ...args: unknown[]): void {
    for (const [each, listener] of [...this.#listeners]) {
      if (each === name) {
        (listener as (...args: unknown[]) => void)(...args);
      }
    }
  }
}

/** Whether the same request may succeed later (RFC 9110 §15.5.9 and §15.6, RFC 8470 §5.2, RFC 6585 §4). */
function isTemporary(error: unknown): boolean {
  const { code, status = 0 } = error as Partial<StreamResponseError>;
  return (
    code === 'network' ||
    code === 'idle' ||
    (code === 'response' && (status >= 500 || [408, 425, 429].includes(status)))
  );
}
