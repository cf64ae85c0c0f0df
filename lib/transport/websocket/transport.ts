import type { StreamCloseCode } from '../../util/errors.js';
import type { QueueLimits } from '../../util/queue-limits.js';
import { destroyLater } from '../linger.js';
import type { SharedChunk } from '../shared-chunk.js';
import type { OutgoingHeaders, Transport, TransportListener } from '../transport.js';
import { CLOSE_CODES, closeCodeOf, endCodeOf, POLICY } from './close-codes.js';
import { Inbox } from './inbox.js';
import { type MessageLimits, MessageMeter } from './message-meter.js';
import type { Message } from './packed-messages.js';
import { Pings } from './pings.js';
import { Pongs } from './pongs.js';
import type { Upgrade } from './upgrade.js';
import type { WebSocketLike } from './ws.js';

/** How long a client may take to answer a close frame, in milliseconds. */
const ANSWER_MS = 5_000;
/** The same, for one that is given up. */
const LAST_ANSWER_MS = 1_000;

const NO_HEADERS: Readonly<Record<string, string>> = {};

/** What is the same for all WebSockets of a route. */
export interface WebSocketParts {
  readonly messages: QueueLimits;
  readonly limits: MessageLimits;
  /** Tells the log of what a developer may want to know. */
  readonly note: (message: string) => void;
  /** The same, of what is wrong with a client. */
  readonly warn: (message: string) => void;
}

/** A WebSocket that was accepted, and what watches its client. */
interface AcceptedWebSocket {
  readonly ws: WebSocketLike;
  readonly pings: Pings;
  readonly meter: MessageMeter;
  /** Made with the first ping of the client: most send none. */
  pongs?: Pongs;
}

/** WebSocket (RFC 6455), accepted with the head. What is written are whole frames already; `ws` reads, and sends control frames between them. */
export class WebSocketTransport implements Transport {
  readonly protocol = 'websocket';
  readonly headers = NO_HEADERS;
  readonly hasBody = true;
  readonly queued = false;
  readonly whole = true;
  private listener: TransportListener | undefined;
  private head: OutgoingHeaders | undefined;
  /** Once the upgrade was accepted. */
  private accepted: AcceptedWebSocket | undefined;
  private awaitsDrain = false;
  private inbox: Inbox | undefined;
  /** Set when messages are asked for. Until then the client does not wait for them to be read: what is too much is dropped. */
  private onWait: (() => void) | undefined;
  private dropping = false;

  constructor(
    private readonly upgrade: Upgrade,
    private readonly parts: WebSocketParts,
  ) {}

  get bufferedAmount(): number {
    return this.upgrade.socket.writableLength;
  }

  get closed(): boolean {
    return this.upgrade.socket.destroyed;
  }

  listen(listener: TransportListener): void {
    this.listener = listener;
    this.upgrade.socket.on('close', () => this.gone());
  }

  begin(headers: OutgoingHeaders): void {
    this.head = headers;
  }

  flushHead(): void {
    this.open();
  }

  write(data: string | Uint8Array): boolean {
    if (!this.open()) {
      // It is closing. What follows is the close.
      return false;
    }
    const { socket } = this.upgrade;
    socket.write(data);
    this.awaitsDrain = socket.writableLength >= socket.writableHighWaterMark;
    return !this.awaitsDrain;
  }

  writeShared(chunk: SharedChunk): boolean {
    return this.write(chunk.bytes);
  }

  end(data: string | Uint8Array | undefined, why: StreamCloseCode): void {
    if (data !== undefined) {
      this.write(data);
    }
    this.close(endCodeOf(why), why);
    this.upgrade.socket.write('', (error) => {
      // Not if somebody else has answered, or the client has left. What follows is the close.
      if (!error && this.accepted) {
        this.listener?.onFinish();
      }
    });
  }

  truncate(data: string | Uint8Array = '', status = 500): void {
    if (data.length > 0) {
      this.write(data);
    }
    this.close(closeCodeOf(status), 'error');
  }

  /** Nothing: {@link check} does, also while something is sent. */
  probe(): void {
    return;
  }

  check(interval: number, now: number): void {
    if (!this.accepted) {
      return;
    }
    const { ws, meter, pings } = this.accepted;
    if (ws.readyState !== ws.OPEN) {
      // Its client has closed it, and takes nothing: the answer waits.
      this.gone();
    } else if (meter.overdue(now, ws.isPaused === true)) {
      this.refuse('the message took too long');
    } else {
      pings.check(interval, now, () => {
        this.parts.note('closed a WebSocket: its client did not answer a ping');
        ws.terminate();
      });
    }
  }

  destroy(why: StreamCloseCode): void {
    const { socket } = this.upgrade;
    if (this.accepted) {
      this.close(CLOSE_CODES[why], why);
      destroyLater(socket, LAST_ANSWER_MS);
    } else {
      socket.destroy();
    }
  }

  expect(): void {
    this.inbox ??= new Inbox(this.parts.messages, {
      pause: () => this.onWait && this.accepted?.ws.pause(),
      resume: () => this.accepted?.ws.resume(),
      wait: () => this.onWait?.(),
    });
  }

  receive(onWait: () => void): AsyncIterable<Message> {
    this.expect();
    const inbox = this.inbox as Inbox;
    this.onWait = onWait;
    if (this.closed) {
      inbox.end();
    } else if (inbox.full) {
      this.accepted?.ws.pause();
    }
    return inbox;
  }

  /** The WebSocket, if something can be sent. Accepts it with the first that is. */
  private open(): boolean {
    if (!this.accepted && this.head && !this.closed) {
      this.accept(this.head);
    }
    const ws = this.accepted?.ws;
    return ws !== undefined && ws.readyState === ws.OPEN;
  }

  private accept(headers: OutgoingHeaders): void {
    const { socket } = this.upgrade;
    const ws = this.upgrade.accept(headers);
    this.head = undefined;
    if (!ws) {
      return;
    }
    const meter = new MessageMeter(this.parts.limits);
    const accepted: AcceptedWebSocket = { ws, pings: new Pings(ws, socket), meter };
    this.accepted = accepted;
    // ws ends the socket when the client has sent a close frame and it is answered.
    socket.on('finish', () => this.gone());
    socket.on('drain', () => this.onDrain());
    ws.on('error', (error) => this.gone(error));
    ws.on('message', (data, binary) => this.onMessage(data, binary));
    ws.on('ping', (data) => {
      accepted.pongs ??= new Pongs(ws);
      accepted.pongs.answer(data);
    });
    // After ws, which closes what is no frame.
    socket.on('data', (chunk: Buffer) => {
      if (meter.read(chunk)) {
        this.refuse('the message is too large with what came in between');
      }
    });
  }

  private onDrain(): void {
    if (this.awaitsDrain) {
      this.awaitsDrain = false;
      this.listener?.onDrain();
    }
  }

  private onMessage(data: Buffer, binary: boolean): void {
    const { inbox } = this;
    const kept = inbox && (this.onWait || !inbox.full) && inbox.push(data, binary);
    if (!kept && !this.dropping) {
      this.dropping = true;
      this.parts.note('dropped a message of a WebSocket client, and drops those to come: nobody reads stream.messages');
    }
  }

  private close(code: number, reason: string): void {
    const { socket } = this.upgrade;
    if (this.open()) {
      this.accepted?.ws.close(code, reason);
      // What still comes is for nobody; its answer is to be read.
      this.dropping = true;
      this.inbox?.end();
      destroyLater(socket, ANSWER_MS);
    }
  }

  /** Closes it for what its client did, and reads no more of that. */
  private refuse(why: string): void {
    this.close(POLICY, why);
    this.upgrade.socket.removeAllListeners('data').resume();
    this.gone(new Error(why));
  }

  private gone(error?: Error): void {
    if (error) {
      this.parts.warn(`closed a WebSocket for a fault of its client: ${error.message}`);
    }
    this.inbox?.end();
    if (!this.closed) {
      destroyLater(this.upgrade.socket, ANSWER_MS);
    }
    this.listener?.onClose(error);
  }
}
