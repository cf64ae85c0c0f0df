import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';

// The parts of `ws` that are used. Its own types cannot be imported: `ws` is optional, and our types have to compile without it.

/** An accepted WebSocket. */
export interface WebSocketLike {
  readonly readyState: number;
  readonly OPEN: number;
  readonly isPaused: boolean;
  close(code: number, reason: string): void;
  terminate(): void;
  ping(): void;
  pong(data: Uint8Array, mask: boolean, onSent: (error?: Error) => void): void;
  pause(): void;
  resume(): void;
  on(event: 'error', listener: (error: Error) => void): unknown;
  on(event: 'message', listener: (data: Buffer, isBinary: boolean) => void): unknown;
  on(event: 'ping', listener: (data: Buffer) => void): unknown;
}

/** Accepts WebSockets. */
export interface WebSocketServerLike {
  once(event: 'headers', listener: (headers: string[]) => void): unknown;
  off(event: 'headers', listener: (headers: string[]) => void): unknown;
  handleUpgrade(
    request: IncomingMessage,
    socket: Socket,
    head: Buffer,
    callback: (accepted: WebSocketLike) => void,
  ): void;
}
