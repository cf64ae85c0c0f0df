import { sseFormat } from '../format/sse.format.js';
import { EVENT_COST, type QueueLimits } from '../util/queue-limits.js';
import { LogEvent } from './log-event.js';
import { Backlog, type HubOverflowPolicy } from './overflow.js';

interface Given {
  readonly key?: string;
  readonly topic?: string;
  readonly size?: number;
}

const MANY = Number.POSITIVE_INFINITY;

function event(n: number, { key, topic, size = 1 }: Given = {}): LogEvent {
  const data = 'x'.repeat(size);
  return new LogEvent(n, `id${n}`, { data, encoding: 'text', topic, key, epoch: 'e', offset: n, time: 0 });
}

function reset(n: number): LogEvent {
  return LogEvent.reset(n, `id${n}`, { reason: 'evicted', oldest: null });
}

/** How many bytes a queue has to allow for events of these sizes. */
function room(...sizes: number[]): number {
  return sizes.reduce((sum, size) => sum + size + EVENT_COST, 0);
}

function setup(policy: HubOverflowPolicy, queue: Partial<QueueLimits> = {}) {
  const backlog = new Backlog(policy, { items: 3, bytes: MANY, ...queue }, 'id0');
  let n = 0;
  return {
    backlog,
    /** Pushes as many, or these. */
    push: (what: number | Given[]) =>
      (typeof what === 'number' ? Array.from({ length: what }, () => ({})) : what).map((each) =>
        backlog.push(event(++n, each)),
      ),
    /** Everything there is, `1`, `2`, … for events and `-2` for two that were dropped. */
    all: () => shown(backlog.take(MANY)),
  };
}

function shown(events: readonly LogEvent[]): (number | string)[] {
  return events.map(({ seq, event: { type, data } }) =>
    type === 'lagged' ? -(data as { dropped: number }).dropped : type === undefined ? seq : type,
  );
}

describe('A backlog', () => {
  it.each(['disconnect', 'drop-oldest', 'drop-newest', 'latest'] as const)(
    'of policy %s returns the events that fit, in their order',
    (policy) => {
      const { backlog, push, all } = setup(policy);

      expect(push(3)).toEqual([true, true, true]);
      expect(backlog.empty).toBe(false);
      expect(all()).toEqual([1, 2, 3]);
      expect(backlog.empty).toBe(true);
      expect(all()).toEqual([]);
    },
  );

  it('returns at least one event, and then as many as fit into a number of bytes', () => {
    const { backlog, push } = setup('disconnect', { items: 10 });
    push([{ size: 5 }, { size: 5 }, { size: 1 }, { size: 20 }, { size: 1 }]);

    expect(shown(backlog.take(0))).toEqual([1]);
    expect(shown(backlog.take(6))).toEqual([2, 3]);
    expect(shown(backlog.take(6))).toEqual([4]);
    expect(shown(backlog.take(6))).toEqual([5]);
  });

  it('has room again for as many events and bytes as were taken from it', () => {
    const { backlog, push, all } = setup('disconnect', { items: 2, bytes: room(5, 5) });
    expect(push([{ size: 5 }, { size: 5 }])).toEqual([true, true]);
    backlog.take(0);

    expect(push([{ size: 5 }])).toEqual([true]);
    expect(all()).toEqual([2, 3]);
    expect(push([{ size: 9 }, { size: 1 }])).toEqual([true, true]);
    expect(push([{ size: 0 }])).toEqual([false]);
  });

  it('accepts notices of the hub even when it is full, and drops none of them', () => {
    const { backlog, push, all } = setup('drop-oldest');
    push(3);

    expect(backlog.push(reset(4))).toBe(true);
    for (let n = 5; n <= 10; n++) {
      backlog.push(event(n));
    }

    const given = all();
    expect(given.filter((each) => each === 'reset')).toEqual(['reset']);
    expect(given.slice(0, 1)).toEqual([expect.any(Number)]);
    expect(given.indexOf('reset')).toBeLessThan(given.indexOf(10));
  });
});

describe('A backlog of policy disconnect', () => {
  it('disconnects the subscriber when it has one event too many', () => {
    const { push } = setup('disconnect');

    expect(push(4)).toEqual([true, true, true, false]);
  });

  it('disconnects the subscriber when it has one byte too many', () => {
    const { push } = setup('disconnect', { bytes: room(4, 6, 0) });

    expect(push([{ size: 4 }, { size: 6 }, { size: 1 }])).toEqual([true, true, false]);
  });

  it('counts bytes, not characters', () => {
    const { backlog } = setup('disconnect', { bytes: room(4, 1) });
    const record = { encoding: 'text' as const, epoch: 'e', offset: 1, time: 0 };

    expect(backlog.push(new LogEvent(1, 'id1', { ...record, data: 'üü' }))).toBe(true);
    expect(backlog.push(new LogEvent(2, 'id2', { ...record, data: 'ü' }))).toBe(false);
  });

  it('disconnects the subscriber for an event that is larger than its queue', () => {
    const { push } = setup('disconnect', { bytes: room(10) });

    expect(push([{ size: 11 }])).toEqual([false]);
  });
});

describe('A backlog of policy drop-oldest', () => {
  it('reports, before the remaining events, how many events it has dropped', () => {
    const { push, all } = setup('drop-oldest');

    expect(push(8)).not.toContain(false);

    expect(all()).toEqual([-5, 6, 7, 8]);
  });

  it('drops as many events as the next one needs room for', () => {
    const { push, all } = setup('drop-oldest', { items: 10, bytes: room(3, 3, 4) });

    push([{ size: 3 }, { size: 3 }, { size: 3 }, { size: 5 }]);

    expect(all()).toEqual([-2, 3, 4]);
  });

  it('reports events that it dropped after others were taken, in the place of the dropped events', () => {
    const { backlog, push, all } = setup('drop-oldest');
    push(5);

    expect(shown(backlog.take(0))).toEqual([-2]);
    expect(shown(backlog.take(0))).toEqual([3]);
    push(3);

    expect(all()).toEqual([-2, 6, 7, 8]);
  });

  it('drops an event that is larger than its queue, and all events before it', () => {
    const { push, all } = setup('drop-oldest', { items: 10, bytes: room(10) });

    push([{ size: 1 }, { size: 1 }, { size: 11 }, { size: 12 }]);
    expect(push([{ size: 1 }])).toEqual([true]);

    const given = all();
    expect(given.at(-1)).toBe(5);
    expect(given.slice(0, -1).reduce((sum: number, each) => sum + Number(each), 0)).toBe(-4);
  });

  it('is not empty while it has a notice to send', () => {
    const { backlog, push, all } = setup('drop-oldest', { bytes: room(10) });

    push([{ size: 11 }]);

    expect(backlog.empty).toBe(false);
    expect(all()).toEqual([-1]);
    expect(backlog.empty).toBe(true);
  });

  it('reports the id before the dropped events, so that a client that resumes from it misses none of them', () => {
    const { backlog, push } = setup('drop-oldest');

    push(8);

    expect(backlog.take(0)[0]?.id).toBe('id0');
  });
});

describe('A backlog of policy drop-newest', () => {
  it('reports, in the place of the dropped events, how many there were', () => {
    const { backlog, push, all } = setup('drop-newest');

    expect(push(5)).not.toContain(false);
    expect(shown(backlog.take(0))).toEqual([1]);
    push(3);

    expect(all()).toEqual([2, 3, -2, 6, -2]);
  });

  it('accepts a smaller event after a larger one did not fit', () => {
    const { push, all } = setup('drop-newest', { bytes: room(8, 2) });

    push([{ size: 8 }, { size: 3 }, { size: 2 }, { size: 1 }]);

    expect(all()).toEqual([1, -1, 3, -1]);
  });

  it('drops only an event that is larger than its queue, and no other', () => {
    const { push, all } = setup('drop-newest', { bytes: room(1, 1) });

    push([{ size: 1 }, { size: 300 }, { size: 1 }]);

    expect(all()).toEqual([1, -1, 3]);
  });

  it('counts from zero again after lagged was sent', () => {
    const { push, all } = setup('drop-newest');
    push(5);
    expect(all()).toEqual([1, 2, 3, -2]);

    push(4);

    expect(all()).toEqual([6, 7, 8, -1]);
  });
});

describe('A backlog of policy latest', () => {
  it('keeps the newest event of each key, in the place where it was published, while there is room', () => {
    const { push, all } = setup('latest', { items: 10 });

    push([{ key: 'a' }, { key: 'b' }, { key: 'a' }, { key: 'c' }, { key: 'a' }]);

    expect(all()).toEqual([-2, 2, 4, 5]);
  });

  it('keeps events apart that have the same key, but different topics or none', () => {
    const { push, all } = setup('latest', { items: 10 });
    const a = { key: 'k', topic: 'a' };
    const b = { key: 'k', topic: 'b' };

    push([a, b, { key: 'k' }, { key: '', topic: 'a' }, { topic: 'a' }]);
    expect(all()).toEqual([1, 2, 3, 4, 5]);
    push([a, b, { key: 'k' }, b]);

    expect(all()).toEqual([-1, 6, 8, 9]);
  });

  it('never confuses two keys', () => {
    const { push, all } = setup('latest', { items: 10 });

    push([{ topic: 'a', key: 'b\nc' }, { topic: 'a', key: 'b' }, { key: 'a\nb\nc' }, { key: '' }, { topic: 'a' }]);

    expect(all()).toEqual([1, 2, 3, 4, 5]);
  });

  it('replaces neither events without a key nor events that were taken', () => {
    const { backlog, push, all } = setup('latest', { items: 10 });

    push([{}, {}, { key: 'a' }]);
    expect(shown(backlog.take(0))).toEqual([1]);
    expect(shown(backlog.take(MANY))).toEqual([2, 3]);
    push([{ key: 'a' }]);

    expect(all()).toEqual([4]);
  });

  it('drops the oldest events when there are too many keys', () => {
    const { push, all } = setup('latest');

    push([{ key: 'a' }, { key: 'b' }, { key: 'c' }, { key: 'a' }, { key: 'd' }, {}]);

    expect(all()).toEqual([-3, 4, 5, 6]);
  });

  it('frees the bytes of replaced events', () => {
    const { push, all } = setup('latest', { items: 10, bytes: room(4, 6) });

    push([{ size: 4 }, { key: 'a', size: 6 }, { key: 'a', size: 6 }, { key: 'a', size: 5 }]);

    expect(all()).toEqual([-2, 1, 4]);
  });

  it('reports the id before all waiting events, so that a client that resumes from it misses none of them', () => {
    const { backlog, push } = setup('latest', { items: 10 });
    push([{ key: 'a' }, { key: 'b' }, { key: 'b' }]);

    const [lagged, ...rest] = backlog.take(MANY);

    expect(shown(rest)).toEqual([1, 3]);
    // Not that of the second event: the first one still waits.
    expect(lagged?.id).not.toBe('id2');
  });
});

describe('A notice of dropped events', () => {
  it('has no id, so SSE clients resume from the id before it', () => {
    const { backlog, push } = setup('drop-oldest');
    push(5);

    expect(backlog.take(0)[0]?.encode(sseFormat)).toBe('event: lagged\ndata: {"dropped":2}\n\n');
  });
});

describe('A backlog that begins with a reset', () => {
  it.each(['drop-oldest', 'latest'] as const)(
    'sends the reset before a notice of dropped events, so that no client has the id of the reset without it: %s',
    (policy) => {
      const backlog = new Backlog(policy, { items: 3, bytes: MANY }, reset(1).idBefore);
      backlog.push(reset(1));
      for (let n = 2; n <= 6; n++) {
        backlog.push(event(n));
      }

      const taken = backlog.take(MANY);

      expect(shown(taken)).toEqual(['reset', -3, 5, 6]);
      expect(taken[1]?.id).toBe('id1');
      expect(backlog.empty).toBe(true);
    },
  );

  it('returns one event at a time if it is asked for one', () => {
    const backlog = new Backlog('drop-oldest', { items: 2, bytes: MANY }, reset(1).idBefore);
    backlog.push(reset(1));
    backlog.push(event(2));
    backlog.push(event(3));

    expect([1, 2, 3, 4].map(() => shown(backlog.take(0)))).toEqual([['reset'], [-1], [3], []]);
    expect(backlog.empty).toBe(true);
  });

  it('sends the notice of dropped events before a later reset', () => {
    const backlog = new Backlog('drop-oldest', { items: 4, bytes: MANY }, reset(1).idBefore);
    backlog.push(reset(1));
    backlog.push(event(2));
    backlog.push(reset(3));
    backlog.push(event(4));
    backlog.push(event(5));

    const taken = backlog.take(MANY);

    expect(shown(taken)).toEqual(['reset', -1, 'reset', 4, 5]);
    expect(taken.map(({ id }) => id)).toEqual(['id1', 'id1', 'id3', 'id4', 'id5']);
  });
});

describe('A backlog that alternately receives small events and events that never fit', () => {
  it.each(['drop-oldest', 'latest'] as const)('does not collect notices: %s', (policy) => {
    const { backlog, push } = setup(policy, { items: 10, bytes: 100 });
    const waiting = Reflect.get(backlog, 'waiting') as ReadonlyMap<unknown, unknown>;

    for (let pair = 0; pair < 1_000; pair++) {
      push([{ size: 10 }, { size: 200 }]);
      expect(waiting.size).toBeLessThanOrEqual(10 + 1);
    }

    const taken = backlog.take(MANY);
    const dropped = taken.filter(({ isNotice }) => isNotice).map(({ event: { data } }) => data as { dropped: number });
    expect(dropped.length).toBeLessThanOrEqual(2);
    expect(dropped.reduce((sum, each) => sum + each.dropped, taken.length - dropped.length)).toBe(2_000);
  });
});
