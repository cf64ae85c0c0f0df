import { SharedStore, SharedStoreBroker } from '../contract/shared-store.js';
import { HubPlace } from './hub.place.js';
import { Load } from './load.js';

const places: HubPlace[] = [];
const loads: Load[] = [];

afterEach(async () => {
  await Promise.all(loads.splice(0).map((load) => load.stop()));
  await Promise.all(places.splice(0).map((place) => place.close()));
});

async function start(store = new SharedStore()): Promise<Load> {
  for (const name of ['one', 'two', 'three']) {
    places.push(await HubPlace.start(name, new SharedStoreBroker(store)));
  }
  const load = new Load(places);
  loads.push(load);
  return load;
}

describe('Clients that stay, and clients that roam between processes,', () => {
  it('receive each event once, and no reset', async () => {
    const load = await start();
    await load.running();
    await load.delivering();
    const { faults, resets, rejected, acknowledged } = await load.verdict();

    expect(faults).toEqual([]);
    expect(resets).toEqual([0, 0, 0, 0, 0, 0]);
    expect(rejected).toBe(0);
    expect(acknowledged).toBeGreaterThan(80);
  });

  it('receive one reset if the log is lost', async () => {
    const store = new SharedStore();
    const load = await start(store);
    await load.running();
    store.lose('feed');
    await load.delivering();
    const { faults, resets } = await load.verdict();

    expect(faults).toEqual([]);
    expect(resets).toEqual([1, 1, 1, 1, 1, 1]);
  });
});
