import { StreamClock } from './stream-clock.js';

const turn = () => new Promise((resolve) => setImmediate(resolve));

/** A clock with one stream, whose ticks are those that a test makes. */
function setup() {
  const clock = new StreamClock();
  const ticks: number[][] = [];
  let now = 1_000;
  clock.follow(() => now, true);
  clock.add({
    place: 0,
    tick: (time, clock, gap) => {
      ticks.push([time, clock, gap]);
      return time;
    },
  });
  return {
    clock,
    ticks,
    async pass(ms: number) {
      now += ms;
      clock.tick();
      await turn();
    },
  };
}

describe('The clock of the streams', () => {
  it('counts a time in which the process did not run as one tick, and reports how long it was', async () => {
    const { clock, ticks, pass } = setup();

    await pass(1_000);
    await pass(60_000);
    await pass(1_000);

    expect(ticks).toEqual([
      [2_000, 2_000, 0],
      [3_000, 62_000, 59_000],
      [4_000, 63_000, 0],
    ]);
    expect(clock.now()).toBe(4_000);
  });

  it('advances the time of day with the clock of a test, and goes on from there with the real clock', async () => {
    const { clock, pass } = setup();
    const before = clock.date();
    expect(Math.abs(before - Date.now())).toBeLessThan(60_000);

    await pass(3_600_000);
    expect(clock.date()).toBe(before + 3_600_000);

    let real = 5;
    clock.follow(() => real, true);
    expect(clock.date()).toBe(before + 3_600_000);
    real += 7;
    expect(clock.date()).toBe(before + 3_600_007);
  });

  it('visits streams after such a time only when the event loop has polled their sockets', async () => {
    const { clock, ticks, pass } = setup();
    const visited = pass(60_000);

    expect(ticks).toEqual([]);
    await visited;

    expect(ticks).toHaveLength(1);
    expect(clock.now()).toBe(2_000);
  });

  it('continues even if every tick is late', async () => {
    const { clock, pass } = setup();

    for (let i = 0; i < 30; i++) {
      await pass(5_000);
    }

    expect(clock.now()).toBe(31_000);
  });
});
