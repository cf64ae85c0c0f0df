import type { OpenStream } from '../connection/open-stream.js';
import { slowClientsOf } from './slow-clients.js';

interface Client {
  readonly id: string;
  readonly queue: number;
  /** When it last read something, if it can take no more. */
  readonly blockedSince?: number;
  readonly dropped?: number;
}

function streamOf({ id, queue, blockedSince, dropped = 0 }: Client): OpenStream {
  const body = { blocked: blockedSince !== undefined, progressAt: blockedSince ?? 0, lost: { dropped } };
  const request = { url: '/', headers: {} };
  const stream = { id, route: 'Feed.all', protocol: 'http/1.1', request, labels: {}, bufferedAmount: queue, body };
  return stream as unknown as OpenStream;
}

const NOW = 10_000;

describe('The slow clients of a snapshot', () => {
  it('are those that read nothing for the longest time, and among these those with the most bytes in their queue', () => {
    const clients: Client[] = [
      { id: 'reads', queue: 1_000 },
      { id: 'lost some', queue: 1_000, dropped: 1 },
      { id: 'lost some, and has more to read', queue: 2_000, dropped: 1 },
      { id: 'four seconds', queue: 0, blockedSince: 6_000 },
      { id: 'nine seconds', queue: 1_000, blockedSince: 1_000 },
      { id: 'nine seconds, and has more to read', queue: 2_000, blockedSince: 1_000 },
      { id: 'large queue', queue: 200_000 },
    ];

    const { count, slowest } = slowClientsOf(clients.map(streamOf), NOW);

    expect(count).toBe(6);
    expect(slowest.map(({ id }) => id)).toEqual([
      'nine seconds, and has more to read',
      'nine seconds',
      'four seconds',
      'large queue',
      'lost some, and has more to read',
    ]);
  });
});
