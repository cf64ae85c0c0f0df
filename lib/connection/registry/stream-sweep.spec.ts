import { jest } from '@jest/globals';
import { inLaterTurn } from '../../util/scheduler.js';
import { StreamSweep, type Ticking } from './stream-sweep.js';

const turn = () => new Promise((resolve) => setImmediate(resolve));

/** How long a visit takes on the clock of the test, in milliseconds. */
const VISIT_MS = 0.1;

/** A sweep of streams that ask for their next visit after `wait`. The test holds the time, also that of slices. */
function setup(count: number, wait = 1_000) {
  const clock = { time: 1_000, gaps: 0 };
  const sweep = new StreamSweep(clock);
  const visited: string[] = [];
  const shares = new Set<number>();
  let now = 0;
  jest.spyOn(performance, 'now').mockImplementation(() => now);
  const stream = (name: string, onTick: () => void = () => undefined): Ticking => ({
    place: 0,
    tick: (time, _clock, gap, share) => {
      shares.add(share);
      now += VISIT_MS;
      visited.push(gap > 0 ? `${name} after ${gap}` : name);
      onTick();
      return time + wait;
    },
  });
  const streams = Array.from({ length: count }, (_, i) => stream(`s${i}`));
  for (const each of streams) {
    sweep.add(each);
  }
  /** Waits until a sweep is over, and returns the number of turns of the event loop in which others could run. */
  const turnsUntil = async (isOver: () => boolean): Promise<number> => {
    let turns = 0;
    while (!isOver()) {
      await turn();
      turns++;
    }
    return turns;
  };
  /** Keeps the event loop busy for some milliseconds in later turns, until the sweep is over. */
  const stayBusy = (ms: number): void =>
    inLaterTurn(() => {
      now += ms;
      if (!sweep.idle) {
        stayBusy(ms);
      }
    });
  return { clock, sweep, visited, shares, stream, streams, turnsUntil, stayBusy };
}

/** Returns the names of the streams. */
function names(count: number, suffix = ''): string[] {
  return Array.from({ length: count }, (_, i) => `s${i}${suffix}`);
}

describe('A sweep of the streams', () => {
  afterEach(() => {
    jest.restoreAllMocks();
  });

  it('visits 5000 streams that are due in slices, between which other code runs, and each of them once', async () => {
    const { sweep, visited, turnsUntil } = setup(5_000);

    sweep.run(0, false);
    expect(visited.length).toBeLessThan(100);
    const turns = await turnsUntil(() => visited.length >= 5_000);

    expect(turns).toBeGreaterThan(40);
    expect(visited).toEqual(names(5_000));
    await turn();
    expect(visited).toHaveLength(5_000);
  });

  it('has a slice in each turn, also among 50 busy producers', async () => {
    const { sweep, visited, turnsUntil, stayBusy } = setup(1_000);
    sweep.run(0, false);
    for (let i = 0; i < 50; i++) {
      stayBusy(2);
    }

    const turns = await turnsUntil(() => visited.length >= 1_000);

    expect(turns).toBeLessThan(50);
  });

  it('visits all streams before it returns if the owner of the clock asks for that', () => {
    const { sweep, visited } = setup(5_000);

    sweep.run(0, true);

    expect(visited).toEqual(names(5_000));
  });

  it('visits a stream only when the time has come for which it has asked', () => {
    const { clock, sweep, visited } = setup(2);
    sweep.run(0, true);

    clock.time += 999;
    sweep.run(0, true);
    expect(visited).toEqual(names(2));
    clock.time += 1;
    sweep.run(0, true);

    expect(visited).toEqual([...names(2), ...names(2)]);
  });

  it('visits a stream earlier that is woken, and all of them after the process was suspended', () => {
    const { sweep, streams, visited } = setup(3);
    sweep.run(0, true);

    sweep.wake(streams[1] as Ticking);
    sweep.run(0, true);
    expect(visited.splice(0)).toEqual([...names(3), 's1']);
    sweep.run(60_000, true);

    expect(visited).toEqual(names(3, ' after 60000'));
  });

  it('that is not over at the next tick goes on, and another one follows it', async () => {
    const { clock, sweep, visited, turnsUntil } = setup(200);
    sweep.run(0, false);

    clock.time += 1_000;
    sweep.run(0, false);
    const before = visited.length;
    expect(before).toBeLessThan(200);
    await turnsUntil(() => visited.length >= 200 + before);

    // Those that were visited before the second tick are due again, and the others are not.
    expect(visited).toEqual([...names(200), ...names(before)]);
  });

  it('that is not over when the process is suspended is followed by one that visits all streams', async () => {
    const { sweep, visited, turnsUntil } = setup(100);
    sweep.run(0, false);
    sweep.run(5_000, false);
    sweep.run(2_000, false);

    await turnsUntil(() => visited.length >= 200);

    expect(visited).toEqual([...names(100), ...names(100, ' after 7000')]);
  });

  it('skips streams that have ended between two slices, and visits those that were added', async () => {
    const { sweep, visited, stream, streams, turnsUntil } = setup(200);
    sweep.run(0, false);
    const before = visited.length;

    for (const each of streams.slice(before, 190)) {
      sweep.delete(each);
    }
    sweep.add(stream('new'));
    await turnsUntil(() => visited.includes('s199'));
    sweep.run(0, true);

    expect(new Set(visited)).toEqual(new Set([...names(before), ...names(200).slice(190), 'new']));
    expect(visited).toHaveLength(before + 11);
    expect(sweep.size).toBe(before + 11);
  });

  it('does not visit a stream that an earlier one has ended', () => {
    const { sweep, visited, stream } = setup(0);
    const second = stream('second');
    const first = stream('first', () => sweep.delete(second));
    for (const each of [first, second, stream('third')]) {
      sweep.add(each);
    }

    sweep.run(0, true);

    expect(visited).toEqual(['first', 'third']);
  });

  it('visits a stream that takes the place of one that ended while it was visited', () => {
    const { sweep, visited, stream } = setup(0);
    const replaced = stream('replaced', () => {
      sweep.delete(replaced);
      sweep.add(stream('new'));
    });
    sweep.add(replaced);

    sweep.run(0, true);
    sweep.run(0, true);

    expect(visited).toEqual(['replaced', 'new']);
  });

  it('visits 5000 streams at the time for which they have asked, and not later', async () => {
    const { clock, sweep, visited, turnsUntil } = setup(5_000);
    sweep.run(0, false);
    await turnsUntil(() => visited.length >= 5_000);
    visited.length = 0;

    clock.time += 1_000;
    sweep.run(0, false);
    await turnsUntil(() => sweep.idle);

    expect(visited).toHaveLength(5_000);
  });

  it.each([
    [1_000, false, 1],
    [1_001, false, 64],
    [1_001, true, 1],
  ])(
    'of %i streams (in one go: %p) spreads their heartbeats over %i parts of the time',
    async (count, whole, parts) => {
      const { sweep, shares, turnsUntil } = setup(count);

      sweep.run(0, whole);
      await turnsUntil(() => sweep.idle);

      expect(shares.size).toBe(parts);
      expect(Math.min(...shares)).toBe(0);
      expect(Math.max(...shares)).toBeLessThan(1);
    },
  );

  it('goes on with the other streams if the visit of one throws, and visits all again at the next tick', async () => {
    const { clock, sweep, visited, stream, turnsUntil } = setup(0);
    const failing = stream('failing', () => {
      throw new Error('visit');
    });
    for (const each of [failing, stream('other')]) {
      sweep.add(each);
    }

    expect(() => sweep.run(0, false)).toThrow('visit');
    await turnsUntil(() => sweep.idle);
    expect(visited).toEqual(['failing', 'other']);

    clock.time += 1_000;
    expect(() => sweep.run(0, true)).toThrow('visit');
    clock.time += 1_000;
    expect(() => sweep.run(0, true)).toThrow('visit');
    expect(visited.filter((name) => name === 'failing')).toHaveLength(3);
  });
});
