import type { Transport } from '../transport/transport.js';
import type { StreamCloseReason } from '../util/close-reason.js';
import type { Body } from './body/body.js';
import type { Closing } from './closing.js';
import type { Lifecycle } from './lifecycle.js';
import type { Opening } from './opening.js';
import type { Reader } from './reader/reader.js';
import type { StreamScope } from './scope.js';
import type { StreamSettings } from './stream-settings.js';

/** The part of a stream that a tick of the clock uses. */
interface TimedStream {
  readonly body: Body;
  readonly lifecycle: Lifecycle;
  readonly transport: Transport;
  readonly settings: StreamSettings;
  readonly scope: StreamScope;
  readonly opening: Opening | undefined;
  readonly ends: Closing;
  readonly feed: { readonly ready: boolean; readonly reader: Reader | undefined };
  end(reason: StreamCloseReason): Promise<void>;
}

/**
 * Handles `expiresAt`, `reauthorize`, `sendTimeout`, `maxDuration`, `openDelay` and `heartbeat` of a stream. All times are in milliseconds.
 * @param now the time without gaps
 * @param age the time since the handler was called
 * @param gap how long the process was suspended before this tick
 * @returns the time before which nothing can be due: see `OpenStream.tick()`
 */
export function visit(stream: TimedStream, now: number, age: number, gap: number): number {
  const { settings, transport, body, lifecycle } = stream;
  const { queued } = transport;
  if (queued) {
    // The stream waits for an earlier response on its connection, and not for its own client.
    body.progress();
  }
  const access = stream.scope.call?.access;
  access?.tick(now);
  const silence = now - body.progressAt;
  // While its access is checked, the stream waits for the guards, and not for its client.
  const waits = !access?.pending && (body.blocked || lifecycle.ended || lifecycle.state === 'closing');
  if (waits && silence >= settings.sendTimeout) {
    stream.ends.cut({ code: 'send-timeout' });
  } else if (lifecycle.ending === 'truncate') {
    stream.ends.finish('truncate');
  } else if (age >= settings.maxDuration) {
    void stream.end({ code: 'deadline' });
  } else {
    stream.scope.attempt(() => onSilence(stream, now, age, silence + gap));
  }
  return queued ? now : nextVisit(stream, now, age);
}

/**
 * Returns the time before which nothing can be due. It is never too late, whatever happens in the meantime: what a client is sent, or reads, only makes a
 * heartbeat and `sendTimeout` due later.
 */
function nextVisit({ settings, transport, body, lifecycle, scope }: TimedStream, now: number, age: number): number {
  if (scope.call?.access || transport.protocol === 'websocket') {
    // The access may expire, and pings do not depend on what is sent.
    return now;
  }
  const { heartbeat, sendTimeout, maxDuration, openDelay } = settings;
  const open = lifecycle.headFixed ? Number.POSITIVE_INFINITY : openDelay;
  return Math.min(body.progressAt + Math.min(heartbeat, sendTimeout), now - age + Math.min(maxDuration, open));
}

/** Opens a stream that has been silent for `openDelay`, and keeps the connection of an open one alive. */
function onSilence(stream: TimedStream, now: number, age: number, silence: number): void {
  const { settings, lifecycle, opening, body, feed } = stream;
  if (opening?.poll) {
    return;
  }
  if (!lifecycle.headFixed) {
    if (age < settings.openDelay) {
      return;
    }
    if (lifecycle.state === 'new') {
      opening?.openSilent();
    } else if (lifecycle.state === 'open') {
      opening?.flushHead();
    }
  } else if (lifecycle.state === 'open') {
    stream.transport.check?.(settings.heartbeat, now);
    if (silence >= settings.heartbeat && feed.ready && body.empty) {
      body.sendHeartbeat(feed.reader?.position);
    }
  }
}
