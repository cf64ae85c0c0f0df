import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { Recorder } from './events.js';

/** Frame types (RFC 9113 §6). */
export const DATA = 0;
export const HEADERS = 1;
export const PRIORITY = 2;
export const RST_STREAM = 3;
export const SETTINGS = 4;
export const PUSH_PROMISE = 5;
export const PING = 6;
export const GOAWAY = 7;
export const WINDOW_UPDATE = 8;
export const CONTINUATION = 9;

/** Flags of frames. */
export const ACK = 0x1;
export const END_STREAM = 0x1;
export const END_HEADERS = 0x4;
export const PADDED = 0x8;

/** Error codes (RFC 9113 §7). */
export const PROTOCOL_ERROR = 0x1;
export const INTERNAL_ERROR = 0x2;
export const FLOW_CONTROL_ERROR = 0x3;
export const STREAM_CLOSED = 0x5;
export const FRAME_SIZE_ERROR = 0x6;
export const CANCEL = 0x8;
export const COMPRESSION_ERROR = 0x9;

const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';

export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
}

export type Fields = readonly (readonly [name: string, value: string])[];

/** 32 bits. */
export function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** One entry of a SETTINGS frame. */
export function setting(id: number, value: number): Buffer {
  return Buffer.concat([Buffer.from([0, id]), uint32(value)]);
}

/** A field block of literals (RFC 7541 §6.2.2), which every decoder supports. Names and values must be short. */
export function block(fields: Fields): Buffer {
  const literal = (text: string): Buffer => Buffer.concat([Buffer.from([text.length]), Buffer.from(text, 'latin1')]);
  return Buffer.concat(fields.flatMap(([name, value]) => [Buffer.from([0]), literal(name), literal(value)]));
}

/** The fields of a request. */
export function requestFields(path: string, method = 'GET', more: Fields = []): Fields {
  return [[':method', method], [':scheme', 'http'], [':authority', 'test'], [':path', path], ...more];
}

/** A client of HTTP/2 that is only a socket, for frames that no HTTP/2 client sends. */
export class RawHttp2 {
  readonly frames = new Recorder<Frame>();
  closed = false;
  private rest = Buffer.alloc(0);
  private readonly news = new Set<() => void>();

  private constructor(readonly socket: Socket) {
    socket.on('data', (data: Buffer) => this.read(data));
    socket.on('close', () => {
      this.closed = true;
      this.notifyWaiters();
    });
    // The close that follows reports it.
    socket.on('error', () => undefined);
  }

  /** Connects with prior knowledge. */
  static async connect(port: number, settings: Buffer = Buffer.alloc(0), preface = PREFACE): Promise<RawHttp2> {
    const socket = connect(port, '127.0.0.1');
    await once(socket, 'connect');
    const client = new RawHttp2(socket);
    socket.write(preface, 'latin1');
    client.send(SETTINGS, 0, 0, settings);
    return client;
  }

  send(type: number, flags: number, stream: number, payload: Buffer | string = Buffer.alloc(0)): void {
    const bytes = Buffer.from(payload as string, 'latin1');
    const head = Buffer.alloc(9);
    head.writeUIntBE(bytes.length, 0, 3);
    head[3] = type;
    head[4] = flags;
    head.writeUInt32BE(stream, 5);
    if (!this.closed) {
      this.socket.write(Buffer.concat([head, bytes]));
    }
  }

  request(stream: number, path: string, flags = END_HEADERS | END_STREAM): void {
    this.send(HEADERS, flags, stream, block(requestFields(path)));
  }

  /** The part of the body of a stream that has arrived. */
  body(stream: number): string {
    return this.frames.seen
      .filter((frame) => frame.type === DATA && frame.stream === stream)
      .map(({ payload }) => payload.toString('latin1'))
      .join('');
  }

  /** Waits for a frame. Rejects if the connection closes before. */
  async frame(matches: (frame: Frame) => boolean): Promise<Frame> {
    const found = await this.frameOrClose(matches);
    if (!found) {
      throw new Error(`The connection closed. Frames: ${JSON.stringify(this.frames.seen.map(({ type }) => type))}`);
    }
    return found;
  }

  /** Waits for a frame, or the close of the connection. */
  async frameOrClose(matches: (frame: Frame) => boolean): Promise<Frame | undefined> {
    for (;;) {
      const found = this.frames.seen.find(matches);
      if (found || this.closed) {
        return found;
      }
      await new Promise<void>((resolve) => this.news.add(resolve));
    }
  }

  /** Waits until the body of a stream contains a text. */
  async until(stream: number, text: string): Promise<void> {
    await this.frame((frame) => frame.type === DATA && this.body(stream).includes(text));
  }

  /** Waits for the answer to a PING: the server has then read everything that was sent before. */
  async pinged(): Promise<void> {
    const payload = Buffer.from(String(Math.random()).slice(2, 10).padEnd(8, '0'));
    this.send(PING, 0, 0, payload);
    await this.frame(({ type, flags, payload: back }) => type === PING && flags === ACK && back.equals(payload));
  }

  leave(): void {
    this.socket.destroy();
  }

  private read(data: Buffer): void {
    this.rest = Buffer.concat([this.rest, data]);
    while (this.rest.length >= 9 && this.rest.length >= 9 + this.rest.readUIntBE(0, 3)) {
      const end = 9 + this.rest.readUIntBE(0, 3);
      const frame = {
        type: this.rest[3] ?? 0,
        flags: this.rest[4] ?? 0,
        stream: this.rest.readUInt32BE(5),
        payload: this.rest.subarray(9, end),
      };
      this.rest = this.rest.subarray(end);
      if (frame.type === SETTINGS && frame.flags === 0) {
        this.send(SETTINGS, ACK, 0);
      }
      this.frames.add(frame);
    }
    this.notifyWaiters();
  }

  private notifyWaiters(): void {
    for (const resolve of this.news) {
      resolve();
    }
    this.news.clear();
  }
}
