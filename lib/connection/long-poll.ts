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

/** The longest wait, in seconds. Many proxies time out after 60 seconds. */
const LONGEST_WAIT = 55;
/** The maximum number of bytes that are kept until the end, if the handler sends chunks itself. */
const LARGE = 65_536;

const POLL_HEADERS: Readonly<Record<string, string>> = {
  // RFC 9111 §5.2.2.5: a cached response would be wrong for the next poll.
  'cache-control': 'no-store',
  'x-content-type-options': 'nosniff',
};

/** The stream of a client that requests a long poll. */
export interface PolledStream {
  readonly body: Body;
  readonly lifecycle: Lifecycle;
  readonly transport: Transport;
  readonly scope: { attempt(run: () => unknown): void };
  readonly opening: { readonly gate: unknown; poll: LongPoll | undefined; flushHead(): void } | undefined;
  readonly feed: PollPort & {
    /** Like `emit()`, but without calling hooks. */
    write(chunk: unknown): void | PromiseLike<unknown>;
  };
  /** Ends the stream cleanly, with the chunks so far. */
  conclude(reason: StreamCloseReason): void;
}

/**
 * A long poll: the response to a client that is willing to wait for one complete body, with `Prefer: wait=N` (RFC 7240 §4.3). If the handler
 * returns a shared source, such as a subscription to a hub, the response contains the events that are available. Otherwise the response is a
 * normal stream. Until that is known, nothing is written.
 */
export class LongPoll implements PollPort {
  private reader: PollReader | undefined;
  private held = true;
  /** How long the poll waits, in seconds. */
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

  /** Whether the poll still waits for an event. `undefined` if the response is not (yet) known to be a poll. */
  get waiting(): boolean | undefined {
    return this.reader?.waiting;
  }

  /** The headers of the response, in place of those of a stream. */
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

  /** Ends the wait, if there is one, so that the response tells the client where to continue. Returns whether there was one. */
  endWait(reason: StreamCloseReason): boolean {
    if (!this.reader?.waiting) {
      return false;
    }
    this.reader.conclude(reason);
    return true;
  }

  /** Ends the body, and sets the head of the response. `204` means that there was no event, and `Last-Event-ID` says where to continue. */
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

  /** Called when the head of the response is fixed, so that the body may be sent. A small body is sent together with its end. */
  release(): void {
    const { body, transport } = this.stream;
    if (!this.reader) {
      return;
    }
    body.outbox.stopHolding();
    if (!transport.hasBody) {
      body.clear();
    } else if (body.size > LARGE) {
      body.outbox.sendHeld();
    }
  }

  /** Adds a chunk to the kept ones. */
  put(encoded: Encoded): void {
    this.stream.body.put(encoded);
    const tooMuch = this.stream.body.size > LARGE;
    if (!tooMuch) {
      this.continueAsStreamSoon();
    } else if (this.reader) {
      this.reader.concludeSoon();
    } else {
      this.continueAsStream();
    }
  }

  /** Calls {@link continueAsStream} in a later turn. A handler may open its stream, and then wait before it returns: the head is not delayed until then. */
  continueAsStreamSoon(): void {
    if (!this.reader) {
      inLaterTurn(() => this.continueAsStream());
    }
  }

  /** Continues as a normal stream, unless the response is known to be a poll. */
  continueAsStream(): void {
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
      // If the stream is ending already, all chunks are sent with the end.
      if (lifecycle.state === 'new') {
        body.outbox.stopHolding();
      }
      return;
    }
    stream.scope.attempt(() => {
      // If there is no chunk, a pending onOpen hook comes first.
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

  /** Ends the body, and returns its length. From then on the body consists of encoded bytes, which are sent at the pace of the client. */
  private endBody(): number {
    const { body } = this.stream;
    const { contentType } = body;
    const { hasNothing: empty } = body;
    if (!empty) {
      body.close('completed');
    }
    const { name, headers } = body.format ?? PASSTHROUGH.format;
    const format = { ...PASSTHROUGH.format, name, headers };
    body.choose({ format, contentType: empty ? undefined : contentType });
    return body.size;
  }
}
