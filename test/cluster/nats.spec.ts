import { setTimeout as pause } from 'node:timers/promises';
import { NatsBroker, type NatsBrokerOptions } from '../../lib/nats/index.js';
import { logNames } from '../../lib/nats/names.js';
import { NatsServer } from '../support/nats-server.js';
import { TcpProxy } from '../support/tcp-proxy.js';
import { overlapping } from './overlapping.js';
import { compareWithGuide, type Outcome, type Scene, type SceneOptions, underLoad } from './scene.js';

const { stream: STREAM } = logNames('ns', 'feed');

interface World {
  readonly server: NatsServer;
  readonly proxy: TcpProxy;
  readonly scene: Scene;
}

interface Fault {
  /** What happens to NATS, as the end of the name of the test. */
  readonly name: string;
  /** The number of `reset` that every client receives. */
  readonly resets: 0 | 1;
  readonly options?: Partial<NatsBrokerOptions>;
  readonly scene?: SceneOptions;
  /** Makes the fault, and mends it. */
  run(world: World): Promise<unknown>;
}

const FAULTS: readonly Fault[] = [
  { name: 'crashes, and starts again', resets: 1, run: ({ server }) => server.restart() },
  {
    name: 'crashes, and starts again with everything, with trustRestarts',
    resets: 0,
    options: { trustRestarts: true },
    run: ({ server }) => server.restart(),
  },
  {
    name: 'crashes, and starts again without its streams in memory',
    resets: 1,
    options: { storage: 'memory' },
    run: ({ server }) => server.restart(),
  },
  { name: 'is suspended for 3 seconds', resets: 0, run: ({ server }) => suspend(server, 3_000) },
  { name: 'is suspended for 15 seconds', resets: 0, run: ({ server }) => suspend(server, 15_000) },
  { name: 'receives nothing more on open connections (half-open)', resets: 0, run: async ({ proxy }) => proxy.drop() },
  { name: 'closes all connections', resets: 0, run: async ({ proxy }) => proxy.cut() },
  {
    name: 'closes all connections of publishers that publish again with `once`',
    resets: 0,
    scene: { once: true },
    run: async ({ proxy }) => proxy.cut(),
  },
  { name: 'loses the stream (nats stream rm)', resets: 1, run: ({ server }) => server.api(`STREAM.DELETE.${STREAM}`) },
  {
    name: 'publishes no messages again, because somebody has edited the stream (nats stream edit)',
    resets: 0,
    run: ({ server }) => edit(server),
  },
];

async function suspend(server: NatsServer, ms: number): Promise<void> {
  server.freeze();
  await pause(ms);
  server.thaw();
}

/** Removes what the tails rely on. */
async function edit(server: NatsServer): Promise<void> {
  const { config } = await server.api<{ config: Readonly<Record<string, unknown>> }>(`STREAM.INFO.${STREAM}`);
  const { republish: _republish, ...rest } = config;
  const { error } = await server.api(`STREAM.UPDATE.${STREAM}`, { ...rest, allow_direct: false });
  expect(error).toBeUndefined();
}

/** Returns the events that are in the log although publish() rejected them as not taken. */
async function rejectedInLog(server: NatsServer, { published }: Outcome): Promise<string[]> {
  const { state } = await server.api<{ state: { first_seq: number; last_seq: number } }>(`STREAM.INFO.${STREAM}`);
  const log = new Set<string>();
  for (let seq = state.first_seq; seq <= state.last_seq; seq++) {
    const { message } = await server.api<{ message?: { data?: string } }>(`STREAM.MSG.GET.${STREAM}`, { seq });
    log.add(
      Buffer.from(message?.data ?? '', 'base64')
        .toString()
        .split('\n')[1] ?? '',
    );
  }
  return published.flatMap(({ key, outcome }) => (outcome === 'rejected' && log.has(JSON.stringify(key)) ? [key] : []));
}

async function survives({ name, resets, options, scene, run }: Fault): Promise<void> {
  const server = await NatsServer.start();
  const proxy = await TcpProxy.start(server.port);
  const servers = `nats://127.0.0.1:${proxy.port}`;
  try {
    const broker = (): NatsBroker => new NatsBroker({ servers, ...options });
    const outcome = await underLoad(servers, { broker, ...scene }, (each) => run({ server, proxy, scene: each }));

    expect(outcome.faults).toEqual([]);
    expect(outcome.resets).toEqual(outcome.resets.map(() => resets));
    expect(await rejectedInLog(server, outcome)).toEqual([]);
    compareWithGuide(`NATS ${name}`, outcome, 'nats');
  } finally {
    await proxy.stop();
    await server.stop();
  }
}

describe('Clients of hubs on NATS miss nothing without a reset, and receive nothing twice, if NATS', () => {
  overlapping(
    'nats-server',
    FAULTS.map((fault) => ({ name: fault.name, run: () => survives(fault) })),
  );
});
