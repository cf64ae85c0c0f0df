import { Attempt, lost } from './attempt.js';
import { StreamClientError, StreamResponseError } from './errors.js';
import { hrefOf, openHttp, type Read, toSend } from './http.js';
import type { ClientState, ClientStream, Settings, StreamItem, StreamListeners, StreamTransport } from './options.js';
import { demandLength, jsonOrText, type Received } from './records.js';
import { openSocket } from './socket.js';

/** What happened in one attempt. */
interface Outcome {
  /** When it began, in milliseconds. */
  readonly began: number;
  /** Whether anything came through: the transport works. */
  open?: boolean;
  /** Whether an item came. */
  data?: boolean;
  /** Whether the server has asked the client to come back, with `retry`. */
  retry?: boolean;
  /** Whether another attempt follows, if it did not fail. */
  next?: boolean;
  error?: unknown;
}

/** The part of a page or worker that the client listens to. */
interface Page {
  readonly document?: { readonly hidden?: boolean };
  addEventListener?(type: string, listener: () => void, options: { readonly signal: AbortSignal }): void;
}

/** Also the reason with which an attempt is left because the page has changed. */
const page = globalThis as Page;

type Kept = string | null | undefined | void;

export class StreamReader<T> implements ClientStream<T> {
  state: ClientState = 'connecting';
  lastEventId = '';
  readonly #settings: Settings;
  readonly #listeners = new Set<readonly [name: string, listener: (...args: never) => void]>();
  /** Is aborted when the stream is closed. */
  readonly #life = new AbortController();
  readonly #items = this.#read();
  #attempt: Attempt;
  /** The number of the transport in the list. */
  #turn = 0;
  /** How many connections in a row have ended without an item. */
  #failures = 0;
  /** How long the server wants clients to wait, in milliseconds. */
  #retry = 0;
  /** Whether items came, so that they would come twice or be missing if the stream began again without an id. */
  #begun = false;
  /** The error with which the items end. */
  #failure: readonly [unknown] | undefined;

  constructor(settings: Settings) {
    this.#settings = settings;
    this.#attempt = new Attempt(settings);
  }

  on<K extends keyof StreamListeners>(name: K, listener: StreamListeners[K]): () => void {
    const entry = [name, listener] as const;
    this.#listeners.add(entry);
    return () => this.#listeners.delete(entry);
  }

  send(message: unknown): void {
    const { send, signal } = this.#attempt;
    if (!send || signal.aborted) {
      throw new StreamClientError('invalid-state', 'No WebSocket');
    }
    send(message);
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

  #finish(failure?: readonly [unknown]): void {
    this.#failure ??= failure;
    this.#change('closed', failure?.[0]);
    this.#life.abort();
    this.#attempt.abort();
  }

  async *#read(): AsyncGenerator<StreamItem<T>, undefined> {
    this.#listen();
    while (!this.#isOver) {
      if (this.#isPaused) {
        await this.#wait(Infinity);
        continue;
      }
      const outcome: Outcome = { began: Date.now() };
      try {
        const read = await this.#open();
        while (outcome.next === undefined) {
          for (const record of await read()) {
            const item = this.#take(record, outcome);
            if (item) {
              yield item;
            }
            // Only now: whoever reloads the page while an item is being processed receives it again.
            if (record.id !== undefined && this.#settings.resume) {
              await this.#keep('set', record.id);
            }
          }
          outcome.open = true;
        }
      } catch (error) {
        outcome.error = error;
        // It has failed, also if the server has asked the client to come back.
        outcome.next &&= undefined;
      } finally {
        this.#attempt.abort();
      }
      await this.#continue(outcome);
    }
    if (this.#failure) {
      throw this.#failure[0];
    }
  }

  #listen(): void {
    const { signal } = this.#settings;
    const life = this.#life.signal;
    const onAbort = (): void => this.#finish([signal?.reason]);
    signal?.addEventListener('abort', onAbort, { signal: life });
    if (signal?.aborted) {
      onAbort();
    }
    const onChange = (): void => {
      if (this.state === 'waiting' || (this.#isPaused && this.#mayRepeat)) {
        this.#attempt.abort(page);
      }
    };
    for (const type of ['visibilitychange', 'online']) {
      page.addEventListener?.(type, onChange, { signal: life });
    }
  }

  get #isOver(): boolean {
    return this.state === 'closed';
  }

  get #isPaused(): boolean | undefined {
    return this.#settings.hidden === 'pause' && page.document?.hidden;
  }

  /** Whether the request may be sent again. If its method is not safe (RFC 9110 §9.2.1), only an id lets the server tell the two requests apart. */
  get #mayRepeat(): unknown {
    const { method = 'get', retry } = this.#settings;
    return /^get$/i.test(method) || this.lastEventId || retry?.unsafe;
  }

  /** Begins an attempt. */
  async #open(): Promise<Read> {
    const attempt = this.#begin('connecting');
    this.#move(this.lastEventId || (await this.#keep('get')) || '');
    const { url, as: transports } = this.#settings;
    const href = hrefOf(await attempt.get(url));
    const as = transports[this.#turn] as StreamTransport;
    const read = await (as === 'ws' ? openSocket : openHttp)(attempt, href, this.lastEventId, as);
    this.#change('open');
    if (this.#begun && !this.lastEventId) {
      this.#begun = false;
      this.#emit('reset', { reason: 'no-id', oldest: null });
    }
    return read;
  }

  /** Returns the item of a record, if it is one. */
  #take(record: Received, outcome: Outcome): StreamItem<T> | undefined {
    const { id, type, data, text, retry, error, next } = record;
    const { parse = jsonOrText, errorEvent = 'error' } = this.#settings;
    const value = (decode: (text: string) => unknown): unknown => (text === undefined ? data : decode(text));
    // Once the stream is closed, the id of an item that nobody receives must not be kept.
    if (this.#isOver || error) {
      throw error;
    }
    if (retry !== undefined) {
      this.#retry = retry;
      outcome.retry = true;
    }
    if (next !== undefined) {
      outcome.next = next || !!outcome.retry;
      if (!outcome.next) {
        // The next stream begins at the beginning.
        record.id = '';
      }
    }
    this.#move(record.id);
    if (outcome.next && !this.#mayRepeat) {
      // The server has shut down, perhaps before the end of the stream.
      throw lost('too early');
    }
    if (type === errorEvent) {
      throw new StreamResponseError('failed', value(jsonOrText));
    }
    if (type === 'reset' || type === 'lagged') {
      return this.#emit(type, value(jsonOrText));
    }
    const item = type === 'position' || type === 'shutdown' ? undefined : value(parse);
    if (item !== undefined) {
      outcome.data = this.#begun = true;
      return { id, type, data: item as T };
    }
  }

  /** Sets the id after which the stream resumes. */
  #move(id?: string | null): void {
    const next = id ?? this.lastEventId;
    // Proxies refuse longer headers.
    demandLength(next.length, 4_096);
    this.lastEventId = this.#settings.resume === false ? '' : next;
  }

  /** Waits until the next attempt, or finishes. */
  async #continue({ began, open, data, retry, next, error }: Outcome): Promise<void> {
    const { base, max, attempts, as } = this.#settings;
    const { code, status, retryAfter } = Object(error) as Partial<StreamResponseError>;
    const longest = (): number => Math.min(max, base * 2 ** (this.#failures - 1));
    if (next === false) {
      this.#finish();
    }
    if (this.#isOver || error === page) {
      return;
    }
    // Without an end, it has failed: also what users throw may be undefined.
    if (!next) {
      // Whether the same request may succeed later (RFC 9110 §15.5.9 and §15.6, RFC 8470 §5.2, RFC 6585 §4).
      if (!/^(network|idle|response(4(08|25|29)|5))/.test(`${code}${status}`) || !this.#mayRepeat) {
        return this.#finish([error]);
      }
      if (!open && !retryAfter) {
        this.#turn = (this.#turn + 1) % as.length;
        if (this.#turn) {
          return;
        }
      }
    }
    // A server that closes each connection at once is not asked more and more often.
    // A long poll, which waits for a second at least, is good also without an item.
    const isGood = data || Date.now() - began > (next ? 0 : longest()) + 900;
    this.#failures = isGood ? +!next : this.#failures + 1;
    if (isGood && next && !retry) {
      return;
    }
    if (this.#failures > attempts) {
      return this.#finish([error ?? lost('too often')]);
    }
    // A change of the page ends the wait, but not in the time in which the server does not want to be asked.
    const least = Date.now() + (retryAfter ?? this.#retry);
    do {
      // Full jitter, so that clients do not all come back at once.
      await this.#wait(least - Date.now() + Math.random() * longest(), error);
    } while (Date.now() < least && !this.#isOver);
  }

  async #wait(ms: number, error?: unknown): Promise<void> {
    const attempt = this.#begin('waiting', error);
    await attempt.wait(new Promise(() => undefined), ms).catch(() => undefined);
  }

  #begin(state: ClientState, error?: unknown): Attempt {
    this.#attempt = new Attempt(this.#settings);
    this.#change(state, error);
    return this.#attempt;
  }

  /** Sets or returns the id in the option `resume`, if there is one. */
  #keep(verb: 'get' | 'set', id?: string): Promise<Kept> | false | undefined {
    const { method = 'GET', url, body } = this.#settings;
    const resume = this.#settings.resume as unknown as Record<
      `${typeof verb}${'Item' | ''}`,
      (key: string, id?: string) => Kept | Promise<Kept>
    >;
    const call = async (): Promise<Kept> =>
      resume['setItem' in resume ? (`${verb}Item` as const) : verb](`${method} ${url}${[toSend(body)]}`, id);
    return resume && this.#attempt.wait(call().catch((error) => this.#emit('warning', error)));
  }

  #change(state: ClientState, error?: unknown): void {
    if (!this.#isOver) {
      this.state = state;
      this.#emit('state', state, error);
    }
  }

  /** Calls the listeners. If one throws, the stream ends with its error. */
  #emit(name: keyof StreamListeners, ...args: unknown[]): undefined {
    // A copy: a listener may add another one.
    for (const [each, listener] of [...this.#listeners]) {
      try {
        if (each === name) {
          (listener as (...args: unknown[]) => void)(...args);
        }
      } catch (error) {
        this.#finish([error]);
      }
    }
  }
}
