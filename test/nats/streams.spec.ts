import type { BrokerPosition, BrokerRecord } from '../../lib/index.js';
import { NatsBroker } from '../../lib/nats/index.js';
import { NatsServer } from '../support/nats-server.js';
import { describeWith } from '../support/tools.js';

import.meta.jest.setTimeout(60_000);

const RETENTION = { limit: 5_000, ttl: 3_600_000 };

interface Config {
  readonly republish?: object;
  readonly max_msgs: number;
  readonly allow_direct: boolean;
  readonly description?: string;
}

describeWith('nats-server')('A NatsBroker whose stream is changed by somebody else', () => {
  let server: NatsServer;
  let broker: NatsBroker;
  let log = '';
  let logs = 0;
  beforeAll(async () => {
    server = await NatsServer.start();
  });
  beforeEach(async () => {
    log = `log-${++logs}`;
    broker = new NatsBroker({ servers: server.url });
    await broker.open(log, RETENTION);
  });
  afterEach(() => broker.close());
  afterAll(() => server.stop());

  const append = (n: number): Promise<BrokerPosition> => broker.append(log, { data: `${n}`, encoding: 'json' });
  const stream = (): string => `ns_${log}`;
  const config = async (): Promise<Config> => (await server.api<{ config: Config }>(`STREAM.INFO.${stream()}`)).config;

  /** Tails the log, and waits until the listener knows that it has left a position. */
  async function follow(): Promise<{
    readonly start: BrokerPosition;
    readonly records: BrokerRecord[];
    until(holds: (position: BrokerPosition) => boolean): Promise<void>;
  }> {
    const records: BrokerRecord[] = [];
    let at: BrokerPosition | undefined;
    let wake = (): void => undefined;
    const start = await broker.tail(log, (received, position) => {
      records.push(...received);
      at = position ?? received.at(-1);
      wake();
    });
    const until = (holds: (position: BrokerPosition) => boolean): Promise<void> =>
      new Promise((resolve) => {
        wake = () => at && holds(at) && resolve();
        wake();
      });
    return { start, records, until };
  }

  it('notices that it was deleted, also if nothing is published', async () => {
    await append(1);
    const { start, until } = await follow();

    await server.api(`STREAM.DELETE.${stream()}`);
    await until(({ epoch }) => epoch !== start.epoch);

    expect(await append(2)).toMatchObject({ epoch: expect.not.stringMatching(start.epoch), offset: 1 });
  });

  it('continues after it was purged, with the next offset', async () => {
    const { epoch } = await append(1);
    await append(2);
    const { records, until } = await follow();

    await server.api(`STREAM.PURGE.${stream()}`);
    expect(await broker.read(log, 0, 10)).toEqual([]);
    expect(await append(3)).toEqual({ epoch, offset: 3 });

    await until(({ offset }) => offset === 3);
    expect(records.map(({ data }) => data)).toEqual(['3']);
    expect((await broker.read(log, 0, 10)).map(({ data }) => data)).toEqual(['3']);
  });

  it('reads behind a message that was deleted from its middle', async () => {
    for (const n of [1, 2, 3, 4]) {
      await append(n);
    }

    await server.api(`STREAM.MSG.DELETE.${stream()}`, { seq: 2 });

    expect((await broker.read(log, 0, 10)).map(({ data }) => data)).toEqual(['3', '4']);
  });

  it('sets what it needs again, and keeps what it does not need', async () => {
    const { records, until } = await follow();
    const before = await config();
    const { republish: _republish, ...rest } = before;
    const edited = { ...rest, max_msgs: 10, allow_direct: false, description: 'edited' };
    expect(await server.api(`STREAM.UPDATE.${stream()}`, edited)).not.toHaveProperty('error');

    // Nobody publishes the message again, and the process finds it nevertheless.
    await append(1);
    await until(({ offset }) => offset === 1);

    expect(records.map(({ data }) => data)).toEqual(['1']);
    expect(await config()).toEqual({ ...before, description: 'edited' });
  });

  it('appends the payload of a program that knows nothing of it as a text', async () => {
    const { records, until } = await follow();

    await (await server.connection()).request(`ns.hub.${log}`, 'hello\n{"world":1}');
    await until(({ offset }) => offset === 1);

    expect(records).toMatchObject([{ data: 'hello\n{"world":1}', encoding: 'text', offset: 1 }]);
    expect(await broker.read(log, 0, 10)).toEqual(records);
  });
});
