import { EventSource } from 'eventsource';
import { PLATFORMS } from '../../support/app.js';
import { type RunningBlock, start } from '../../support/document-app.js';
import { blockNamed } from '../../support/documentation.js';
import { Recorder } from '../../support/events.js';
import { Nginx } from '../../support/nginx.js';
import { itWith } from '../../support/tools.js';

const GUIDE = 'docs/several-processes.md';

describe.each(PLATFORMS)('%s: the guide to several processes, behind its nginx', (platform) => {
  let running: RunningBlock[];
  let nginx: Nginx;
  let source: EventSource | undefined;

  beforeEach(async () => {
    const live = await start(blockNamed(GUIDE, 'src/live.main.ts'), platform);
    process.env.LIVE_URL = `http://127.0.0.1:${live.port}`;
    const web = await Promise.all([1, 2].map(() => start(blockNamed(GUIDE, 'src/main.ts'), platform)));
    running = [live, ...web];
    const ports = { 3100: live.port, 3000: web[0]?.port, 3001: web[1]?.port };
    nginx = await Nginx.start(live.port, (port) =>
      Object.entries(ports).reduce(
        (config, [from, to]) => config.replace(`127.0.0.1:${from}`, `127.0.0.1:${to}`),
        blockNamed(GUIDE, 'nginx.conf').text.replace('listen 80;', `listen 127.0.0.1:${port};`),
      ),
    );
  });

  afterEach(async () => {
    source?.close();
    await nginx.stop();
    await Promise.all(running.map((app) => app.close()));
    delete process.env.LIVE_URL;
  });

  const post = (path: string, body: object) =>
    fetch(`http://127.0.0.1:${nginx.port}${path}`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', Authorization: 'Bearer for development only' },
      body: JSON.stringify(body),
    });

  itWith('nginx')('an event of every process reaches the client, which publishes nothing itself', async () => {
    const received = new Recorder();
    source = new EventSource(`http://127.0.0.1:${nginx.port}/live/orders`);
    source.onmessage = ({ data }) => received.add((JSON.parse(data) as { customer: string }).customer);
    await new Promise((opened) => source?.addEventListener('open', opened));

    const orders = ['Ada', 'Grace', 'Joan', 'Mary'];
    for (const customer of orders) {
      expect((await post('/orders', { customer })).status).toBe(201);
    }
    expect(await received.count(orders.length)).toEqual(orders);
    expect((await post('/internal/publish', { topic: 'orders', data: 'forged' })).status).toBe(404);
  });

  itWith('nginx')(
    'while the process with the hubs is away, an EventSource learns when to reconnect, and others receive 502',
    async () => {
      await running[0]?.close();
      running = running.slice(1);
      const get = (accept: string) =>
        fetch(`http://127.0.0.1:${nginx.port}/live/orders`, { headers: { Accept: accept } });
      const response = await get('text/event-stream');
      expect(response.status).toBe(200);
      expect(await response.text()).toBe('event: shutdown\nretry: 2500\ndata: {}\n\n');
      expect((await get('application/x-ndjson')).status).toBe(502);
    },
  );
});
