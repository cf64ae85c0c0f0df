import { EventSource } from 'eventsource';
import { PLATFORMS } from '../../support/app.js';
import { evaluate, factoryOf, type RunningBlock, start } from '../../support/document-app.js';
import { blockNamed } from '../../support/documentation.js';
import { Recorder } from '../../support/events.js';
import { Nginx } from '../../support/nginx.js';
import { Reading } from '../../support/reading.js';
import { RedisServer } from '../../support/redis-server.js';
import { describeWith, itWith } from '../../support/tools.js';

const GUIDE = 'docs/several-processes.md';

describeWith('redis-server')('the guide to several processes, with Redis and behind its nginx', () => {
  describe.each(PLATFORMS)('%s', (platform) => {
    let redis: RedisServer;
    let processes: [RunningBlock, RunningBlock];
    let nginx: Nginx;
    let source: EventSource | undefined;
    let received: Recorder;
    /** The address of the process that the client is connected to. */
    let connectedTo: string | null;

    const itInNginx = itWith('nginx');
    const startProcess = () => start(blockNamed(GUIDE, 'src/main.ts'), platform);
    const url = (path: string) => `http://127.0.0.1:${nginx.port}${path}`;
    const get = (path: string, headers: Record<string, string> = {}) => fetch(url(path), { headers });

    beforeEach(async () => {
      redis = await RedisServer.start();
      process.env.REDIS_URL = redis.url;
      processes = [await startProcess(), await startProcess()];
      const [one, other] = processes.map((each) => each.port);
      nginx = await Nginx.start(0, (port) =>
        blockNamed(GUIDE, 'nginx.conf')
          .text.replace('listen 80;', `listen 127.0.0.1:${port}; add_header X-Process $upstream_addr;`)
          .replace('127.0.0.1:3000', `127.0.0.1:${one}`)
          .replace('127.0.0.1:3001', `127.0.0.1:${other}`),
      );
    });

    afterEach(async () => {
      source?.close();
      await nginx.stop();
      await Promise.all(processes.map((app) => app.close()));
      await redis.stop();
      delete process.env.REDIS_URL;
    });

    /** Publishes to one process, or through nginx. */
    async function order(customer: string, port = nginx.port): Promise<void> {
      const response = await fetch(`http://127.0.0.1:${port}/orders/eu`, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify({ customer }),
      });
      expect(response.status).toBe(201);
    }

    /** Opens an EventSource behind nginx, which records the customers and every reset. */
    async function watch(): Promise<void> {
      received = new Recorder();
      const opened = new EventSource(url('/orders/eu'), {
        fetch: async (address, init) => {
          const response = await fetch(address, init);
          connectedTo = response.headers.get('x-process');
          return response;
        },
      });
      source = opened;
      opened.onmessage = ({ data }) => received.add((JSON.parse(data) as { customer: string }).customer);
      opened.addEventListener('reset', ({ data }) => received.add(`reset: ${data}`));
      await new Promise((resolve) => opened.addEventListener('open', resolve, { once: true }));
    }

    itInNginx('the events of every process and of the worker reach a client', async () => {
      await watch();

      for (const { port } of processes) await order(`of ${port}`, port);
      await evaluate(blockNamed(GUIDE, 'src/worker.ts'), () => undefined, factoryOf(platform).replaced);

      const [one, other] = processes;
      expect(await received.count(4)).toEqual([`of ${one.port}`, `of ${other.port}`, 'Grace', 'Joan']);
    });

    itInNginx(
      'a client whose process is stopped comes back to the other one, and misses nothing',
      async () => {
        await watch();
        await order('first');
        await received.count(1);
        const before = connectedTo;
        const at = before?.endsWith(`:${processes[0].port}`) ? 0 : 1;
        const [stopped, staying] = [processes[at], processes[1 - at] as RunningBlock];

        await stopped.close();
        await order('meanwhile', staying.port);
        await received.count(2);
        await order('afterwards');

        expect(await received.count(3)).toEqual(['first', 'meanwhile', 'afterwards']);
        expect(connectedTo).toBe(`127.0.0.1:${staying.port}`);
        expect(connectedTo).not.toBe(before);
      },
      30_000,
    );

    itInNginx('a user who logs out in one process is logged out in both', async () => {
      const headers = { 'X-User': 'Ada' };
      const open = async ({ port }: RunningBlock, user: string) =>
        new Reading(await fetch(`http://127.0.0.1:${port}/account/orders`, { headers: { 'X-User': user } }));
      const streams = await Promise.all(processes.map((each) => open(each, 'Ada')));
      const another = await open(processes[0], 'Grace');

      const response = await fetch(url('/account/logout'), { method: 'POST', headers });

      expect(await response.json()).toEqual({ closed: 2 });
      await Promise.all(streams.map((stream) => stream.end()));
      await order('Grace');
      await another.until(/"customer":"Grace"/);
      await another.leave();
    });

    itInNginx('counts the viewers of all processes, and each process reports that it is ready', async () => {
      await watch();
      const viewers = async () => (await get('/orders/eu/viewers')).json();
      while (JSON.stringify(await viewers()) !== '{"viewers":1}') {
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      for (const { port } of processes) {
        expect((await fetch(`http://127.0.0.1:${port}/health/ready`)).status).toBe(200);
      }
    });
  });
});
