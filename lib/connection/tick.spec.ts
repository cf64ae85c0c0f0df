import type { Http2ServerResponse } from 'node:http2';
import { jest } from '@jest/globals';
import { Http2Transport } from '../transport/http2.transport.js';
import { visit } from './tick.js';

type TimedStream = Parameters<typeof visit>[0];

/** An open stream whose client has not read all of it, or has read everything. The test lets the time pass, in ticks of a second. */
function setup(heartbeat: number, unread: number) {
  const heartbeats: number[] = [];
  const pings: number[] = [];
  let now = 0;
  const body = { progressAt: 0, blocked: false, empty: true, sendHeartbeat: () => heartbeats.push(now) };
  const transport = new Http2Transport({ stream: { writableLength: unread } } as unknown as Http2ServerResponse);
  jest.spyOn(transport, 'probe').mockImplementation(() => pings.push(now));
  const stream = {
    body,
    transport,
    lifecycle: { headFixed: true, state: 'open' },
    settings: { heartbeat, sendTimeout: 30_000, maxDuration: Infinity, openDelay: 1_000 },
    scope: { attempt: (run: () => void) => run() },
    feed: { ready: true },
  } as unknown as TimedStream;
  let due = 0;
  /** @param progress whether the client takes something after each tick */
  const pass = (seconds: number, share: number, progress: boolean): void => {
    for (let i = 0; i < seconds; i++) {
      now += 1_000;
      if (now >= due) {
        due = visit(stream, now, now, 0, share);
      }
      if (progress) {
        body.progressAt = now;
      }
    }
  };
  return { heartbeats, pings, pass };
}

describe('A visit of a stream', () => {
  it.each([
    [15_000, 0, 15_000],
    [15_000, 0.5, 14_000],
    [15_000, 1, 12_000],
    [50_000, 0.5, 48_000],
    [50_000, 1, 45_000],
  ])(
    'with a heartbeat of %i ms and the share %p sends it after %i ms of silence, and never late',
    (heartbeat, share, first) => {
      const { heartbeats, pass } = setup(heartbeat, 0);

      pass(heartbeat / 1_000, share, false);

      expect(heartbeats[0]).toBe(first);
    },
  );

  it('sends a PING after each `heartbeat` of an HTTP/2 stream with unread bytes, also if events are sent all the time', () => {
    const { pings, pass } = setup(15_000, 1);

    pass(60, 0, true);

    expect(pings).toEqual([15_000, 30_000, 45_000, 60_000]);
  });
});
