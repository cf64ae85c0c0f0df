import { HubEvent } from '../event/hub-event.js';
import type { Encoded } from '../format/format.js';
import { PASSTHROUGH } from '../format/passthrough.js';
import type { SharedSource } from '../source/shared-source.js';
import type { ResponseHead } from '../transport/response-head.js';
import type { Transport } from '../transport/transport.js';
import type { StreamCloseReason } from '../util/close-reason.js';
import type { Losses } from '../util/queue-limits.js';
import { inLaterTurn } from '../util/scheduler.js';
import type { Body } from './body/body.js';
import type { Lifecycle } from './lifecycle.js';
import { type PollPort, PollReader } from './reader/poll-reader.js';

/** The longest wait, in seconds: many proxies give up after 60. */
const LONGEST_WAIT = 55;
/** How many bytes may be held back of what the handler sends itself. */
const LARGE = 65_536;

const POLL_HEADERS: Readonly<Record<string, string>> = {
  // RFC 9111 §5.2.2.5: the next answer to the same request is another one.
  'cache-control': 'no-store',
  'x-content-type-options': 'nosniff',
};

/** The stream of a client that asked for a long poll. */
export interface PolledStream {
  readonly body: Body;
  readonly lifecycle: Lifecycle;
  readonly transport: Transport;
  readonly scope: { attempt(run: () => unknown): void };
  readonly opening: { readonly gate: unknown; poll: LongPoll | undefined; flushHead(): void } | undefined;
  readonly feed: PollPort & {
    /** As `emit()`, past the hooks. */
    write(chunk: unknown): void | PromiseLike<unknown>;
  };
  /** Ends the stream well, with what there is. */
  conclude(reason: StreamCloseReason): void;
}

/**
 * The answer to a client that prefers to wait for one whole body: `Prefer: wait=N` (RFC 7240 §4.3). If the handler returns a source that many
 * share, the client gets what there is of it. If not, the stream is one as any other. Until that is known, nothing is written.
 */
export class LongPoll implements PollPort {
  private reader: PollReader | undefined;
  private held = true;
  /** In seconds. */
  private readonly wait: number;

  /** @param wait the preference of the client, in seconds */
  constructor(
    private readonly stream: PolledStream,
    wait: number,
    maxDuration: number,
  ) {
    this.wait = Math.min(wait, LONGEST_WAIT, Math.ceil(maxDuration / 1_000));
    stream.body.outbox.hold();
  }

  /** Whether the answer still waits for something to come. Returns `undefined` where there is no such answer. */
  get waiting(): boolean | undefined {
    return this.reader?.waiting;
  }

  /** The headers of the answer in place of those of a stream. */
  get headers(): Readonly<Record<string, string>> | undefined {
    return this.reader && POLL_HEADERS;
  }

  get losses(): Losses {
    return this.stream.feed.losses;
  }

  get ready(): boolean {
    return this.stream.feed.ready;
  }

  readerOf(source: SharedSource): PollReader {
    this.reader = new PollReader(source, this.wait, this);
    return this.reader;
  }

  /** Ends the wait, if there is one: the client is to know where to go on, whatever ends the stream. Returns whether there was one. */
  endWait(reason: StreamCloseReason): boolean {
    if (!this.reader?.waiting) {
      return false;
    }
    this.reader.conclude(reason);
    return true;
  }

  /** Ends the body and sets the head of the answer. `204` says that there is nothing, `Last-Event-ID` where to go on. */
  describe(head: ResponseHead): void {
    const { reader } = this;
    if (!reader) {
      return;
    }
    const { id } = reader;
    const length = this.endBody();
    if (length === 0) {
      head.status(204);
    } else {
      head.header('Content-Length', String(length));
    }
    if (id !== undefined) {
      head.header('Last-Event-ID', id);
    }
    head.header('Preference-Applied', `wait=${this.wait}`);
    head.vary('Prefer');
  }

  /** The head of the answer is fixed: its body may leave. A small one leaves with the end. */
  release(): void {
    const { body, transport } = this.stream;
    if (!this.reader) {
      return;
    }
    body.outbox.letGo();
    if (!transport.hasBody) {
      body.clear();
    } else if (body.size > LARGE) {
      body.outbox.sendHeld();
    }
  }

  /** Holds a chunk back. */
  put(encoded: Encoded): void {
    this.stream.body.put(encoded);
    const tooMuch = this.stream.body.size > LARGE;
    if (!tooMuch) {
      this.letGoSoon();
    } else if (this.reader) {
      this.reader.concludeSoon();
    } else {
      this.letGo();
    }
  }

  /** As {@link letGo}, in a later turn: a handler that opens its stream, and then waits before it returns, is not waited for. */
  letGoSoon(): void {
    if (!this.reader) {
      inLaterTurn(() => this.letGo());
    }
  }

  /** Goes on as a stream, unless it is known that there is an answer. */
  letGo(): void {
    const { stream } = this;
    const { body, lifecycle, opening } = stream;
    if (!this.held || this.reader) {
      return;
    }
    this.held = false;
    if (opening) {
      opening.poll = undefined;
    }
    if (lifecycle.state !== 'open') {
      // A stream that already ends sends everything with the end.
      if (lifecycle.state === 'new') {
        body.outbox.letGo();
      }
      return;
    }
    stream.scope.attempt(() => {
      // Without a chunk, an onOpen hook that takes its time comes first.
      if (!body.empty || opening?.gate === undefined) {
        opening?.flushHead();
      }
      body.outbox.sendHeld();
    });
  }

  emit(chunk: unknown): void | PromiseLike<unknown> {
    return chunk instanceof HubEvent && chunk.notice ? this.stream.feed.write(chunk) : this.stream.feed.emit(chunk);
  }

  complete(): void {
    this.stream.conclude(this.reader?.reason ?? { code: 'completed' });
  }

  fail(error: unknown): void {
    this.stream.feed.fail(error);
  }

  late(error: unknown): void {
    this.stream.feed.late(error);
  }

  within<R>(run: () => R): R {
    return this.stream.feed.within(run);
  }

  overflow(): void {
    this.stream.feed.overflow();
  }

  /** Ends the body, of which only the head is missing, and returns its length. What follows are bytes, sent at the pace of the client. */
  private endBody(): number {
    const { body } = this.stream;
    const { contentType } = body;
    const { void: empty } = body;
    if (!empty) {
      body.close();
    }
    const { name, headers } = body.format ?? PASSTHROUGH.format;
    const format = { ...PASSTHROUGH.format, name, headers };
    body.choose({ format, contentType: empty ? undefined : contentType });
    return body.size;
  }
}
