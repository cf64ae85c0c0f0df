import type { BrokerRecord } from '../../lib/index.js';
import { NatsBroker } from '../../lib/nats/index.js';
import { NatsServer } from '../support/nats-server.js';
import { freePort } from '../support/nginx.js';
import { describeWith } from '../support/tools.js';

import.meta.jest.setTimeout(120_000);

const RETENTION = { limit: 1_000, ttl: 3_600_000 };

/** Starts three servers that form a cluster. */
async function startCluster(): Promise<readonly NatsServer[]> {
  const ports = await Promise.all([1, 2, 3].map(freePort));
  const routes = ports.map((port) => `nats://127.0.0.1:${port}`).join(', ');
  const servers = await Promise.all(
    ports.map((port, n) =>
      NatsServer.start(
        `server_name: n${n}`,
        `cluster: { name: test, host: 127.0.0.1, port: ${port}, routes: [${routes}], no_advertise: true }`,
      ),
    ),
  );
  await eventually(async () => {
    const answers = await Promise.all(
      servers.map((server) => server.api('INFO', undefined, 500).catch(() => ({ error: 'none yet' }))),
    );
    return answers.every(({ error }) => error === undefined);
  });
  return servers;
}

async function eventually(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) {
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Appends an entry until the cluster takes it. */
async function appended(
  broker: NatsBroker,
  data: string,
): Promise<{ readonly epoch: string; readonly offset: number }> {
  for (;;) {
    try {
      return await broker.append('log', { data, encoding: 'text', once: data });
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

/** While there is no leader, no server answers. */
async function leaderOf(server: NatsServer, stream: string): Promise<string | undefined> {
  try {
    const { cluster } = await server.api<{ cluster?: { leader?: string } }>(`STREAM.INFO.${stream}`, undefined, 500);
    return cluster?.leader;
  } catch {
    return undefined;
  }
}

describeWith('nats-server')('A log with copies on three servers', () => {
  let servers: readonly NatsServer[] = [];
  const brokers: NatsBroker[] = [];
  const newBroker = async (prefix: string, trustRestarts: boolean): Promise<NatsBroker> => {
    const broker = new NatsBroker({ servers: servers.map(({ url }) => url), replicas: 3, prefix, trustRestarts });
    brokers.push(broker);
    await eventually(() =>
      broker.open('log', RETENTION).then(
        () => true,
        () => false,
      ),
    );
    return broker;
  };
  const first = (): NatsServer => servers[0] as NatsServer;

  beforeAll(async () => {
    servers = await startCluster();
  });
  afterEach(() => Promise.all(brokers.splice(0).map((broker) => broker.close())));
  afterAll(() => Promise.all(servers.map((server) => server.stop())));

  it('begins a new epoch when another server becomes its leader, and tails learn it', async () => {
    const broker = await newBroker('first', false);
    const epochs = new Set<string>();
    const { epoch } = await broker.tail('log', (records, position) => {
      for (const each of position ? [position] : records) {
        epochs.add(each.epoch);
      }
    });
    expect(await appended(broker, 'a')).toEqual({ epoch, offset: 1 });
    const leader = await leaderOf(first(), 'first_log');

    await first().api('STREAM.LEADER.STEPDOWN.first_log');
    await eventually(async () => ![undefined, '', leader].includes(await leaderOf(first(), 'first_log')));
    await eventually(() => epochs.size > 1);

    expect((await appended(broker, 'b')).epoch).not.toBe(epoch);
  });

  it('continues with trustRestarts when its leader is killed, with every record, each once', async () => {
    const broker = await newBroker('second', true);
    const received: BrokerRecord[] = [];
    const { epoch } = await broker.tail('log', (records) => received.push(...records));
    await eventually(async () => (await leaderOf(first(), 'second_log')) !== undefined);
    const leader = await leaderOf(first(), 'second_log');
    const data = Array.from({ length: 60 }, (_, n) => `${n}`);

    for (const [n, each] of data.entries()) {
      if (n === 20) {
        await servers.find((_, index) => `n${index}` === leader)?.kill();
      }
      await appended(broker, each);
    }

    await eventually(() => received.length >= 60);
    expect(received.map((record) => record.data)).toEqual(data);
    expect(new Set(received.map((record) => record.epoch))).toEqual(new Set([epoch]));
    const read: BrokerRecord[] = [];
    while (read.length < 60) {
      read.push(...(await broker.read('log', read.length, 100)));
    }
    expect(read).toEqual(received);
  });
});
