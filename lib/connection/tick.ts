import type { Transport } from '../transport/transport.js';
import type { StreamCloseReason } from '../util/close-reason.js';
import type { Body } from './body/body.js';
import type { Closing } from './closing.js';
import type { Lifecycle } from './lifecycle.js';
import type { Opening } from './opening.js';
import type { Reader } from './reader/reader.js';
import type { StreamScope } from './scope.js';
import type { StreamSettings } from './stream-settings.js';

/** A heartbeat is at most this part of its duration early. */
const EARLIEST = 1 / 4;
/** A heartbeat after a longer time, in milliseconds, is not earlier than one after this time. */
const LONGEST_SPREAD = 20_000;

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
 * @param share how early a heartbeat may be sent, from 0 to 1
 * @returns the time before which nothing can be due: see `OpenStream.tick()`
 */
export function visit(stream: TimedStream, now: number, age: number, gap: number, share: number): number {
  const { settings, transport, body, lifecycle } = stream;
  const { queued } = transport;
  const heartbeat = settings.heartbeat - Math.min(settings.heartbeat, LONGEST_SPREAD) * EARLIEST * share;
  let next = Number.POSITIVE_INFINITY;
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
    stream.scope.attempt(() => {
      next = onSilence(stream, now, age, silence + gap, heartbeat);
    });
  }
  return queued ? now : Math.min(next, nextVisit(stream, now, age, heartbeat));
}

/**
 * Returns the time before which nothing can be due. It is never too late, whatever happens in the meantime: what a client is sent, or reads, only makes a
 * heartbeat and `sendTimeout` due later.
 */
function nextVisit(
  { settings, transport, body, lifecycle, scope }: TimedStream,
  now: number,
  age: number,
  heartbeat: number,
): number {
  if (scope.call?.access || transport.protocol === 'websocket') {
    // The access may expire, and pings do not depend on what is sent.
    return now;
  }
  const { sendTimeout, maxDuration, openDelay } = settings;
  const open = lifecycle.headFixed ? Number.POSITIVE_INFINITY : openDelay;
  return Math.min(body.progressAt + Math.min(heartbeat, sendTimeout), now - age + Math.min(maxDuration, open));
}

/**
 * Opens a stream that has been silent for `openDelay`, and keeps the connection of an open one alive.
 * @returns when the connection is to be checked again
 */
function onSilence(stream: TimedStream, now: number, age: number, silence: number, heartbeat: number): number {
  const { settings, lifecycle, opening, body, feed } = stream;
  const never = Number.POSITIVE_INFINITY;
  if (opening?.poll) {
    return never;
  }
  if (!lifecycle.headFixed) {
    if (age < settings.openDelay) {
      return never;
    }
    if (lifecycle.state === 'new') {
      opening?.openSilent();
    } else if (lifecycle.state === 'open') {
      opening?.flushHead();
    }
  } else if (lifecycle.state === 'open') {
    const next = stream.transport.check?.(heartbeat, now) ?? never;
    if (silence >= heartbeat && feed.ready && body.empty) {
      body.sendHeartbeat(feed.reader?.position);
    }
    return next;
  }
  return never;
}
