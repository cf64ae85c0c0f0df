import { flush } from '../../../lib/index.js';
import { DRIVERS } from '../../support/drivers/index.js';
import { deferred } from '../../support/events.js';
import { turns } from '../../support/running.js';
import { expectEnd, useFeeds } from '../../support/transports.js';

describe.each(DRIVERS)('$name: a stream', (driver) => {
  const start = useFeeds();
  const LATER = { flush: { bytes: 100_000, ms: 60_000 } } as const;

  it.each([
    ['the default', {}],
    ['each', { flush: 'each' }],
  ] as const)('with flush: %s sends each chunk of a slow producer at once', async (_, route) => {
    const gates = [deferred(), deferred()];
    const { open } = await start(driver, {
      route,
      async *feed() {
        yield 1;
        yield 2;
        await gates[0]?.promise;
        yield 3;
        await gates[1]?.promise;
        yield 4;
      },
    });
    const client = open();

    expect(await client.until(2)).toEqual([1, 2]);
    gates[0]?.resolve();
    expect(await client.until(3)).toEqual([1, 2, 3]);
    gates[1]?.resolve();
    await expectEnd(driver, client, 'completed');
    expect(client.records).toEqual([1, 2, 3, 4]);
  });

  it('with flush: { bytes, ms } sends its chunks after ms', async () => {
    const gate = deferred();
    const { open } = await start(driver, {
      route: { flush: { bytes: 100_000, ms: 30 } },
      async *feed() {
        yield 1;
        await turns(2);
        yield 2;
        await gate.promise;
      },
    });
    const client = open();

    expect(await client.until(2)).toEqual([1, 2]);
    gate.resolve();
    await expectEnd(driver, client, 'completed');
  });

  it('sends all waiting chunks upon yield flush() and stream.flush(), whatever its policy', async () => {
    const gates = [deferred(), deferred()];
    const { open } = await start(driver, {
      route: LATER,
      async *feed({ stream }) {
        yield 1;
        yield flush();
        await gates[0]?.promise;
        yield 2;
        stream.flush();
        await gates[1]?.promise;
        yield 3;
      },
    });
    const client = open();

    expect(await client.until(1)).toEqual([1]);
    gates[0]?.resolve();
    expect(await client.until(2)).toEqual([1, 2]);
    gates[1]?.resolve();
    await expectEnd(driver, client, 'completed');
    expect(client.records).toEqual([1, 2, 3]);
  });
});
