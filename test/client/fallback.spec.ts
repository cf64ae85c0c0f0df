import { Controller } from '@nestjs/common';
import { WebSocket } from 'ws';
import { connect } from '../../lib/client/index.js';
import { Hub, InjectHub, LastEventId, Sse, Stream, StreamingModule } from '../../lib/index.js';
import { PLATFORMS } from '../support/app.js';
import { hubOf } from '../support/hub.js';
import { useRawServers } from '../support/raw-server.js';
import { useApps } from '../support/running.js';

@Controller()
class Feed {
  constructor(@InjectHub('feed') private readonly hub: Hub<number>) {}

  @Sse('feed')
  feed(@LastEventId() after?: string) {
    return this.hub.subscribe(after ? { after } : { last: 100 });
  }

  @Stream('only-http', { protocols: 'http', format: 'sse' })
  onlyHttp(@LastEventId() after?: string) {
    return this.feed(after);
  }
}

describe.each(PLATFORMS)('%s: a client with a list of transports', (platform) => {
  const launch = useApps();
  const serve = useRawServers();
  const start = (websocket: boolean) =>
    launch(platform, {
      controllers: [Feed],
      imports: [StreamingModule.registerHub({ name: 'feed' })],
      options: { websocket },
    });

  it.each([
    ['the server has no WebSockets', false, '/feed'],
    ['the route has no WebSockets', true, '/only-http'],
  ])('uses Server-Sent Events if %s', async (_, websocket, path) => {
    const app = await start(websocket);
    await hubOf(app).publish(1);
    const stream = connect(app.url(path), { as: ['ws', 'sse', 'poll'], WebSocket, retry: { base: 1, max: 1 } });
    expect((await stream.next()).value?.data).toBe(1);
    expect([...app.registry].map(({ format }) => format)).toEqual(['sse']);
    stream.close();
  });

  it('keeps WebSocket if it works', async () => {
    const app = await start(true);
    await hubOf(app).publish(1);
    const stream = connect(app.url('/feed'), { as: ['ws', 'sse'], WebSocket, retry: { base: 1, max: 1 } });
    expect((await stream.next()).value?.data).toBe(1);
    for (const socket of app.sockets.seen) {
      socket.destroy();
    }
    await hubOf(app).publish(2);
    expect((await stream.next()).value?.data).toBe(2);
    stream.close();
  });

  it('polls if a proxy holds back what does not end', async () => {
    const app = await start(false);
    await hubOf(app).publish(1);
    const proxy = await serve(async (response, request) => {
      const { accept = '', prefer } = request.headers;
      const left = new AbortController();
      response.on('close', () => left.abort());
      const headers = { accept, ...(prefer && { prefer: String(prefer) }) };
      const upstream = await fetch(app.url('/feed'), { headers, signal: left.signal });
      const body = await upstream.text().catch(() => undefined);
      response.writeHead(upstream.status, Object.fromEntries(upstream.headers)).end(body);
    });
    const stream = connect(proxy.url, { as: ['sse', 'poll'], idle: 2_000, retry: { base: 1, max: 1 } });
    expect((await stream.next()).value?.data).toBe(1);
    expect(proxy.requests.seen.slice(0, 2).map(({ headers }) => !!headers.prefer)).toEqual([false, true]);
    stream.close();
  });
});
