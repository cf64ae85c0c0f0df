import { HubEvent } from '../event/hub-event.js';
import { PASSTHROUGH } from '../format/passthrough.js';
import type { Source } from '../source/source.js';
import type { ResponseHead } from '../transport/response-head.js';
import { inLaterTurn } from '../util/scheduler.js';
import type { StreamCloseReason } from './close-reason.js';
import { isOver } from './connection-state.js';
import { LiveConnection } from './live-connection.js';
import { PollReader } from './reader/poll-reader.js';
import type { Reader } from './reader/reader.js';
import type { StreamParts } from './stream-settings.js';

/** The longest wait, in seconds: many proxies give up after 60. */
const LONGEST_WAIT = 55;
/** So much may be held back of what the handler sends itself. */
const LARGE = 65_536;

const POLL_HEADERS: Readonly<Record<string, string>> = {
  // RFC 9111 §5.2.2.5: the next answer to the same request is another one.
  'cache-control': 'no-store',
  'x-content-type-options': 'nosniff',
};

/**
 * The stream of a client that would rather wait for one whole answer: `Prefer: wait=N` (RFC 7240 §4.3). If what the handler returns
 * is shared by many, the client is answered with what there is of it; else it is a stream as any other.
 */
export class PollingConnection extends LiveConnection {
  private readonly wait: number;
  private poll: PollReader | undefined;
  /** Nothing goes on the wire: it is not known yet what the handler returns, or the answer is not whole. */
  private held = true;

  /** @param wait what the client asks for, in seconds */
  constructor(parts: StreamParts, wait: number) {
    super(parts);
    this.wait = Math.min(wait, LONGEST_WAIT, Math.ceil(parts.settings.maxDuration / 1_000));
    this.body.whole = true;
  }

  override get endless(): boolean {
    return this.poll?.waiting ?? super.endless;
  }

  override attach(value: unknown): void {
    super.attach(value);
    this.letGo();
  }

  override expectChunks(): void {
    super.expectChunks();
    this.letGo();
  }

  /** While it waits, whatever ends it has it answer: the client is to know where to go on. */
  override end(reason: StreamCloseReason): Promise<void> {
    if (!this.poll?.waiting) {
      return super.end(reason);
    }
    this.poll.conclude(reason);
    return this.closed();
  }

  override emit(chunk: unknown): void | PromiseLike<unknown> {
    return chunk instanceof HubEvent && chunk.notice ? this.write(chunk) : super.emit(chunk);
  }

  override complete(): void {
    const { poll } = this;
    if (poll && (this.current === 'new' || this.current === 'open')) {
      this.body.progress();
      this.attempt(() => this.beginEnd(poll.reason));
    } else {
      super.complete();
    }
  }

  protected override get headers(): Readonly<Record<string, string>> {
    return this.poll ? POLL_HEADERS : super.headers;
  }

  protected override readerOf(source: Source): Reader {
    if (source.kind === 'shared' && this.held && this.parts.transport.hasBody) {
      this.poll = new PollReader(source, this.wait, this);
      return this.poll;
    }
    return super.readerOf(source);
  }

  protected override fixHead(): void {
    const { body, poll } = this;
    const { head } = this.parts;
    if (!head || !poll || isOver(this.current)) {
      super.fixHead();
      return;
    }
    this.describe(head, poll.id, this.wholeLength());
    super.fixHead();
    body.whole = false;
    if (!this.parts.transport.hasBody) {
      body.clear();
    } else if (body.size > LARGE) {
      body.sendHeld();
    }
    // What is smaller leaves with the end.
  }

  protected override flushHead(): void {
    this.held ? this.letGoSoon() : super.flushHead();
  }

  protected override putFirst(encoded: string | Uint8Array): void {
    if (!this.held) {
      super.putFirst(encoded);
      return;
    }
    this.body.put(encoded);
    const tooMuch = this.body.size > LARGE;
    if (!tooMuch) {
      this.letGoSoon();
    } else if (this.poll) {
      this.poll.concludeSoon();
    } else {
      this.letGo();
    }
  }

  protected override openSilent(): void {
    if (!this.held) {
      super.openSilent();
    }
  }

  protected override wake(age: number, silence: number): void {
    if (!this.held) {
      super.wake(age, silence);
    }
  }

  /** Sets what an answer is told with. `204` says that there is nothing, `Last-Event-ID` where to go on. */
  private describe(head: ResponseHead, id: string | undefined, length: number): void {
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

  /** Ends the body, of which only the head is missing, and returns its length. What follows are bytes, sent at the pace of the client. */
  private wholeLength(): number {
    const { body } = this;
    const { contentType } = body;
    const empty = body.empty && body.half === '';
    if (!empty) {
      body.close();
    }
    const { name, headers } = body.format ?? PASSTHROUGH.format;
    const format = { ...PASSTHROUGH.format, name, headers };
    body.choose({ format, contentType: empty ? undefined : contentType });
    return body.size;
  }

  /** A handler that opens its stream, and then waits for something before it returns, is not waited for. */
  private letGoSoon(): void {
    if (!this.poll) {
      inLaterTurn(() => this.letGo());
    }
  }

  /** Goes on as a stream, unless it is a poll. */
  private letGo(): void {
    if (!this.held || this.poll) {
      return;
    }
    this.held = false;
    if (this.current !== 'open') {
      // What ends already sends all of it with the end.
      this.body.whole = this.current !== 'new';
      return;
    }
    this.attempt(() => {
      // Without a chunk, an onOpen hook that takes its time comes first.
      if (!this.body.empty || this.gate === undefined) {
        this.flushHead();
      }
      this.body.sendHeld();
    });
  }
}
