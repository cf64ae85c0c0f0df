import { RedisServer } from '../support/redis-server.js';
import { describeWith } from '../support/tools.js';
import { type Environment, PublisherProcess, PythonPublisher, WebProcess } from './app.process.js';
import { Load } from './load.js';

import.meta.jest.setTimeout(180_000);

/** Both platforms, and both clients of Redis. */
const PROCESSES: readonly Environment[] = [
  { PLATFORM: 'express', CLIENT: 'redis' },
  { PLATFORM: 'fastify', CLIENT: 'ioredis' },
  { PLATFORM: 'express', CLIENT: 'ioredis' },
  { PLATFORM: 'fastify', CLIENT: 'redis' },
];

describeWith('redis-server')(
  'Four application processes, a publisher without HTTP and one in Python, on one Redis:',
  () => {
    let server: RedisServer;
    let webs: WebProcess[] = [];
    let publisher: PublisherProcess;
    let python: PythonPublisher;
    let load: Load;

    beforeAll(async () => {
      server = await RedisServer.start('--save', '3600 1');
      const env = { REDIS_URL: server.url };
      webs = await Promise.all(PROCESSES.map((each, index) => WebProcess.start(`web ${index}`, { ...each, ...env })));
      publisher = await PublisherProcess.start('worker', env);
      python = await PythonPublisher.start('python', server);
    });

    beforeEach(async () => {
      const [first, second] = webs as [WebProcess, WebProcess];
      load = new Load(webs, { publishers: [first, second, publisher, python] });
      await load.running();
    });

    afterEach(() => load?.stop());

    afterAll(async () => {
      await Promise.all([...webs, publisher, python].map((each) => each?.end('SIGKILL')));
      await server?.stop();
    });

    it('every client receives all events, also one that reads NDJSON', async () => {
      const lines: string[] = [];
      const leaving = new AbortController();
      const reading = webs[0]?.lines((line) => lines.push(line), leaving.signal).catch(() => undefined);
      await load.when('a client that reads NDJSON receives events', () => lines.length > 0);
      await load.delivering();
      const { faults, resets, rejected, unknown } = await load.verdict();
      const last = JSON.stringify(load.clients[0]?.received.at(-1)?.data);
      await load.when('the client that reads NDJSON receives the last event', () => lines.at(-1) === last);
      leaving.abort();
      await reading;

      expect(faults).toEqual([]);
      expect(resets).toEqual(load.clients.map(() => 0));
      expect([rejected, unknown]).toEqual([0, 0]);
      const all = load.clients[0]?.received.map(({ data }) => data) ?? [];
      expect(lines.map((line) => JSON.parse(line))).toEqual(all.slice(all.indexOf(JSON.parse(lines[0] ?? ''))));
      for (const { name } of [...webs.slice(0, 2), publisher, python]) {
        expect(all.some((key) => String(key).startsWith(name))).toBe(true);
      }
    });

    it('no client misses an event while all four are restarted, one after the other', async () => {
      for (const web of webs) {
        // Nest ends the process with the signal, after everything is closed.
        expect(await web.end('SIGTERM')).toBe('SIGTERM');
        await load.delivering();
        await web.start();
        await load.delivering();
      }
      const { faults, resets } = await load.verdict();

      expect(faults).toEqual([]);
      expect(resets).toEqual(load.clients.map(() => 0));
    });

    it('no client misses an event when one is killed while it publishes', async () => {
      await webs[0]?.end('SIGKILL');
      await load.delivering();
      await webs[0]?.start();
      await load.delivering();
      const { faults, resets } = await load.verdict();

      expect(faults).toEqual([]);
      expect(resets).toEqual(load.clients.map(() => 0));
    });

    it('every client receives one reset when Redis crashes, and starts again with an older snapshot', async () => {
      await server.cli('SAVE');
      await load.delivering();
      await server.kill();
      await server.restart();
      await load.delivering();
      const { faults, resets } = await load.verdict();

      expect(faults).toEqual([]);
      expect(resets).toEqual(load.clients.map(() => 1));
    });
  },
);
