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
/** The same, in milliseconds, for a connection that is destroyed. */
const LAST_ANSWER_MS = 1_000;

/** The frame of the text message `{}`: an event without fields (RFC 6455 §5.2). */
const HEARTBEAT = Buffer.from('\x81\x02{}', 'latin1');

const NO_HEADERS: Readonly<Record<string, string>> = {};

/** The settings that all WebSockets of a route share. */
export interface WebSocketParts {
  readonly messages: QueueLimits;
  readonly limits: MessageLimits;
  /** Logs a message for developers, at the level `debug`. */
  readonly note: (message: string) => void;
  /** Logs a warning about a client. */
  readonly warn: (message: string) => void;
}

/** A WebSocket that was accepted, with the objects that monitor its client. */
interface AcceptedWebSocket {
  readonly ws: WebSocketLike;
  readonly pings: Pings;
  readonly meter: MessageMeter;
  /** Created at the first ping of the client: most clients send none. */
  pongs?: Pongs;
}

/** WebSocket (RFC 6455). Accepts the upgrade when the head is sent. It writes frames that are complete already, while `ws` reads, and sends control frames. */
export class WebSocketTransport implements Transport {
  readonly protocol = 'websocket';
  readonly headers = NO_HEADERS;
  readonly hasBody = true;
  readonly queued = false;
  readonly whole = true;
  private listener: TransportListener | undefined;
  private head: OutgoingHeaders | undefined;
  /** `undefined` until the upgrade is accepted. */
  private accepted: AcceptedWebSocket | undefined;
  private awaitsDrain = false;
  private inbox: Inbox | undefined;
  /** Set when the application starts to read messages. Until then, a full inbox does not pause the socket: further messages are dropped. */
  private onWait: (() => void) | undefined;
  private dropping = false;

  /** @param heartbeats whether the client wants heartbeats as messages */
  constructor(
    private readonly upgrade: Upgrade,
    private readonly parts: WebSocketParts,
    private readonly heartbeats = false,
  ) {}

  get bufferedAmount(): number {
    return this.upgrade.socket.writableLength;
  }

  get carrier(): object {
    return this.upgrade.socket;
  }

  get closed(): boolean {
    return this.upgrade.socket.destroyed;
  }

  listen(listener: TransportListener): void {
    this.listener = listener;
    this.upgrade.socket.on('close', () => this.disconnected());
  }

  begin(headers: OutgoingHeaders): void {
    this.head = headers;
  }

  flushHead(): void {
    this.open();
  }

  write(data: string | Uint8Array): boolean {
    if (!this.open()) {
      // The connection is closing. `onClose` follows.
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
    this.close(endCodeOf(why, this.upgrade.protocol), why);
    this.upgrade.socket.write('', (error) => {
      // If other code has responded, or the client is disconnected, `onClose` follows instead.
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

  /** Sends a heartbeat to a client that wants messages. To find dead clients, {@link check} sends pings, also while the stream is active. */
  probe(): void {
    if (this.heartbeats) {
      this.write(HEARTBEAT);
    }
  }

  check(interval: number, now: number): number {
    if (!this.accepted) {
      return now;
    }
    const { ws, meter, pings } = this.accepted;
    if (ws.readyState !== ws.OPEN) {
      // The client has sent a close frame, but does not read, so that the answer is not sent.
      this.disconnected();
    } else if (meter.overdue(now, ws.isPaused === true)) {
      this.refuse('the message took too long');
    } else {
      pings.check(interval, now, () => {
        this.parts.note('closed a WebSocket: its client did not answer a ping');
        ws.terminate();
      });
    }
    return now;
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

  /** Returns whether the WebSocket is open. Accepts the upgrade first, if that has not happened yet. */
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
    // ws ends the socket after it has answered the close frame of a client.
    socket.on('finish', () => this.disconnected());
    socket.on('drain', () => this.onDrain());
    ws.on('error', (error) => this.disconnected(error));
    ws.on('message', (data, binary) => this.onMessage(data, binary));
    ws.on('ping', (data) => {
      accepted.pongs ??= new Pongs(ws);
      accepted.pongs.answer(data);
    });
    // Added after the listener of ws, which closes the connection if the bytes are no frames.
    socket.on('data', (chunk: Buffer) => {
      if (meter.read(chunk)) {
        this.refuse('the message is too large, together with the frames in between');
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
    if (!binary && this.listener?.onMessage?.(data)) {
      return;
    }
    const { inbox } = this;
    const kept = inbox && (this.onWait || !inbox.full) && inbox.push(data, binary);
    if (!kept && !this.dropping) {
      this.dropping = true;
      this.parts.note(
        'dropped a message of a WebSocket client, and will drop all further ones: stream.messages is not read',
      );
    }
  }

  private close(code: number, reason: string): void {
    const { socket } = this.upgrade;
    if (this.open()) {
      this.accepted?.ws.close(code, reason);
      // Later messages are dropped without a note. The socket is read until the answer to the close frame arrives.
      this.dropping = true;
      this.inbox?.end();
      destroyLater(socket, ANSWER_MS);
    }
  }

  /** Closes the WebSocket because of a fault of its client, and discards everything that the client sends after it. */
  private refuse(why: string): void {
    this.close(POLICY, why);
    this.upgrade.socket.removeAllListeners('data').resume();
    this.disconnected(new Error(why));
  }

  private disconnected(error?: Error): void {
    if (error) {
      this.parts.warn(`closed a WebSocket because of an error of its client: ${error.message}`);
    }
    this.inbox?.end();
    if (!this.closed) {
      destroyLater(this.upgrade.socket, ANSWER_MS);
    }
    this.listener?.onClose(error);
  }
}
