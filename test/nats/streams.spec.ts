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

  it('delivers what a program in another language publishes to a topic', async () => {
    const name = `${log}-topics`;
    const admin = await server.connection();
    await broker.openTopics(name, { ...RETENTION, all: false });
    const records: BrokerRecord[] = [];
    let wake = (): void => undefined;
    const tail = await broker.tailTopics(name, {
      onRecords: (received) => {
        records.push(...received);
        wake();
      },
      onReached: () => undefined,
      onMissed: () => undefined,
    });
    await tail.add(['room-7', 'room:7']);
    const both = new Promise<void>((resolve) => {
      wake = () => records.length === 2 && resolve();
    });

    // The subject and the payload of docs/nats.md.
    await admin.request(`ns.topic.${name}.t.room-7`, '{"e":"json","o":"room-7"}\n{"id":1}');
    await admin.request(`ns.topic.${name}.t._ojxw63j2g4`, '{"e":"json","o":"room:7"}\n{"id":2}');
    await both;

    expect(records).toMatchObject([
      { topic: 'room-7', data: '{"id":1}', encoding: 'json', previous: 0 },
      { topic: 'room:7', data: '{"id":2}', encoding: 'json', previous: 0 },
    ]);
    const { topics } = await broker.readTopics(
      name,
      ['room-7', 'room:7'].map((topic) => ({ topic, after: 0 })),
      10,
    );
    expect(topics.map((each) => each.records)).toEqual(records.map((record) => [record]));
  });
});

type Kind = 'one history of all events' | 'a history for each topic';

describeWith('nats-server')('A hub that two processes register with different kinds of history', () => {
  const KINDS: [Kind, Kind][] = [
    ['one history of all events', 'a history for each topic'],
    ['a history for each topic', 'one history of all events'],
  ];
  let server: NatsServer;
  let first: NatsBroker;
  let second: NatsBroker;
  let log = '';
  let logs = 0;
  beforeAll(async () => {
    server = await NatsServer.start();
  });
  beforeEach(() => {
    log = `rooms-${++logs}`;
    first = new NatsBroker({ servers: server.url });
    second = new NatsBroker({ servers: server.url });
  });
  afterEach(() => Promise.all([first.close(), second.close()]));
  afterAll(() => server.stop());

  const open = (broker: NatsBroker, kind: Kind, name = log): Promise<void> =>
    kind === 'a history for each topic'
      ? broker.openTopics(name, { ...RETENTION, all: true })
      : broker.open(name, RETENTION);
  const append = (broker: NatsBroker, name = log): Promise<BrokerPosition> =>
    broker.append(name, { data: '1', encoding: 'json', topic: 'a' });
  const refusal = (found: Kind, own: Kind): object => ({
    code: 'broker-unavailable',
    message: `The stream "ns_${log}" has ${found} of the hub "${log}", and this process registers the hub with ${own}. Register it with the same kind in all processes, or give it another name; or stop the processes with the other kind, and remove its events with "nats stream rm ns_${log}"`,
  });

  it.each(KINDS)('has %s: a process with %s does not start, and the other process continues', async (found, own) => {
    await open(first, found);

    await expect(open(second, own)).rejects.toMatchObject(refusal(found, own));

    const { offset } = await append(first);
    expect(await first.read(log, 0, 10)).toMatchObject([{ data: '1', topic: 'a', offset }]);
  });

  it('has the kind of one of them if both start at the same time, and the other one does not start', async () => {
    const [one, other] = KINDS[0] ?? [];
    const results = await Promise.allSettled([one && open(first, one), other && open(second, other)]);

    expect(results.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
  });

  it.each(KINDS)(
    'has %s: once its stream was removed, a process with %s starts, and the other process cannot publish',
    async (before, after) => {
      await open(first, before);
      await open(first, before, `${log}-b`);
      await append(first);

      // The first process may create it again before.
      for (let opened = false; !opened; ) {
        await server.api(`STREAM.DELETE.ns_${log}`);
        opened = await open(second, after).then(
          () => true,
          () => false,
        );
      }

      await expect(append(first)).rejects.toMatchObject(refusal(after, before));
      expect(await append(second)).toMatchObject({ epoch: expect.any(String) });

      // The other hubs of that process continue, also on another connection.
      await server.restart();
      let appended: BrokerPosition | undefined;
      while (!appended) {
        appended = await append(first, `${log}-b`).catch(() => undefined);
      }
      await expect(append(first)).rejects.toMatchObject(refusal(after, before));
    },
  );
});
