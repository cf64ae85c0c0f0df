import { type OpenStream, StreamRegistry } from './stream-registry.js';

const turn = () => new Promise((resolve) => setImmediate(resolve));

/** A registry with one stream, whose ticks are those that a test makes. */
function setup() {
  const registry = new StreamRegistry();
  const ticks: number[][] = [];
  let now = 1_000;
  registry.follow(() => now, true);
  registry.add({ tick: (...times: number[]) => void ticks.push(times) } as unknown as OpenStream);
  return {
    registry,
    ticks,
    async pass(ms: number) {
      now += ms;
      registry.tick();
      await turn();
    },
  };
}

describe('The sweep of the registry', () => {
  it('counts a gap in which the process did not run as one tick, and says how long it was', async () => {
    const { registry, ticks, pass } = setup();

    await pass(1_000);
    await pass(60_000);
    await pass(1_000);

    expect(ticks).toEqual([
      [2_000, 2_000, 0],
      [3_000, 62_000, 59_000],
      [4_000, 63_000, 0],
    ]);
    expect(registry.now()).toBe(4_000);
  });

  it('visits streams after a gap only when the event loop has looked at their sockets', async () => {
    const { registry, ticks, pass } = setup();
    const visited = pass(60_000);

    expect(ticks).toEqual([]);
    await visited;

    expect(ticks).toHaveLength(1);
    expect(registry.now()).toBe(2_000);
  });

  it('goes on although every tick is late', async () => {
    const { registry, pass } = setup();

    for (let i = 0; i < 30; i++) {
      await pass(5_000);
    }

    expect(registry.now()).toBe(31_000);
  });
});
