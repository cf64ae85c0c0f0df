import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { NatsServer } from '../support/nats-server.js';
import { PostgresServer, postgresPath } from '../support/postgres-server.js';
import { RedisServer } from '../support/redis-server.js';
import { TcpProxy } from '../support/tcp-proxy.js';
import { describeWith, toolPath } from '../support/tools.js';
import { type Environment, WebProcess } from './app.process.js';
import { Load } from './load.js';

import.meta.jest.setTimeout(180_000);

/** The topics of each client. The first three clients stay in a process, and the others roam. */
const TOPICS = [['red'], ['red', 'green', 'blue'], ['blue'], ['green'], ['red', 'blue'], ['blue', 'green', 'red']];

/** A server that still has what it has acknowledged after it was killed. */
interface Server {
  readonly port: number;
  kill(): Promise<void>;
  restart(): Promise<void>;
  stop(): Promise<void>;
  /** Kills it, and starts it again without data. */
  lose(): Promise<void>;
}

interface Store {
  readonly name: string;
  /** The program that it needs. */
  readonly tool: string;
  readonly path: string | undefined;
  start(): Promise<Server>;
  /** The environment of applications that reach it through a port. */
  env(port: number): Environment;
}

/** Removes a folder of a server while it does not run. */
async function restartWithout(server: RedisServer | NatsServer, folder: string): Promise<void> {
  await server.kill();
  rmSync(join(server.folder, folder), { recursive: true });
  await server.restart();
}

const STORES: readonly Store[] = [
  {
    name: 'Redis',
    tool: 'redis-server',
    path: toolPath('redis-server'),
    async start() {
      const server = await RedisServer.start('--appendonly', 'yes', '--appendfsync', 'always');
      return Object.assign(server, { lose: () => restartWithout(server, 'appendonlydir') });
    },
    env: (port) => ({ REDIS_URL: `redis://127.0.0.1:${port}`, TRUST: 'yes' }),
  },
  {
    name: 'NATS',
    tool: 'nats-server',
    path: toolPath('nats-server'),
    async start() {
      const server = await NatsServer.start();
      return Object.assign(server, { lose: () => restartWithout(server, 'js') });
    },
    env: (port) => ({ NATS_URL: `nats://127.0.0.1:${port}`, TRUST: 'yes' }),
  },
  {
    name: 'Postgres',
    tool: 'postgres',
    path: postgresPath('postgres'),
    async start() {
      const server = await PostgresServer.start();
      const lose = async (): Promise<void> => {
        await server.sql('TRUNCATE ns.log, ns.record');
        await server.restart();
      };
      return Object.assign(server, { lose });
    },
    env: (port) => ({ POSTGRES_URL: `postgres://postgres@127.0.0.1:${port}/postgres` }),
  },
];

describe.each(STORES)('$name', ({ tool, path, start, env }) => {
  describeWith(tool, path)('and three application processes with a history for each topic:', () => {
    let server: Server;
    let proxy: TcpProxy;
    let webs: [WebProcess, WebProcess, WebProcess];
    let load: Load;

    beforeAll(async () => {
      server = await start();
      proxy = await TcpProxy.start(server.port);
      const common = env(proxy.port);
      webs = await Promise.all([
        WebProcess.start('web 0', { ...common, PLATFORM: 'express' }),
        WebProcess.start('web 1', { ...common, PLATFORM: 'fastify', CLIENT: 'ioredis' }),
        WebProcess.start('web 2', { ...common, PLATFORM: 'fastify' }),
      ]);
    });

    beforeEach(async () => {
      load = new Load(webs, { topics: TOPICS });
      await load.running();
    });

    afterEach(() => load?.stop());

    afterAll(async () => {
      await Promise.all((webs ?? []).map((web) => web.end('SIGKILL')));
      await proxy?.stop();
      await server?.stop();
    });

    /** Every client has missed nothing, or has received this number of resets for each of its topics. */
    const expectResets = async (count: 0 | 1): Promise<void> => {
      await load.delivering();
      const { faults, resets } = await load.verdict();
      expect(faults).toEqual([]);
      expect(resets).toEqual(TOPICS.flat().map(() => count));
    };

    it('no client misses an event of its topics when a process is killed while it publishes', async () => {
      await webs[0].end('SIGKILL');
      await load.delivering();
      await webs[0].start();
      await expectResets(0);
    });

    it('no client misses an event of its topics when all connections to the store are cut', async () => {
      proxy.cut();
      await expectResets(0);
    });

    it('no client misses an event of its topics when the store is killed, and still has everything', async () => {
      await server.kill();
      await server.restart();
      await expectResets(0);
    });

    it('every client receives one reset for all its topics when the store has lost everything', async () => {
      await server.lose();
      await expectResets(1);
    });
  });
});
