import type { MessagePort } from 'node:worker_threads';
import { Controller } from '@nestjs/common';
import { type ConnectOptions, StreamClientError } from '../../lib/client/index.js';
import { connectShared, type SharedPort } from '../../lib/client/shared/index.js';
import type { Port } from '../../lib/client/shared/messages.js';
import { servePort } from '../../lib/client/shared/share-streams.js';
import { Hub, InjectHub, LastEventId, Sse, StreamingModule } from '../../lib/index.js';
import { PLATFORMS } from '../support/app.js';
import { hubOf, joined } from '../support/hub.js';
import { useRawServers } from '../support/raw-server.js';
import { useApps } from '../support/running.js';

@Controller()
class Feed {
  constructor(@InjectHub('feed') private readonly hub: Hub<number>) {}

  @Sse('events')
  events(@LastEventId() after?: string) {
    return this.hub.subscribe({ after });
  }
}

const ports: MessagePort[] = [];

/** Returns a port whose other side is the worker. */
function workerPort(): SharedPort {
  const { port1, port2 } = new MessageChannel();
  ports.push(port1, port2);
  servePort(port2 as unknown as Port);
  return port1 as unknown as SharedPort;
}

afterEach(() => {
  for (const port of ports.splice(0)) {
    port.close();
  }
});

describe('connectShared()', () => {
  it.each<[string, ConnectOptions]>([
    ['parse', { parse: String }],
    ['fetch', { fetch }],
    ['resume', { resume: false }],
    ['hidden', { hidden: 'pause' }],
    ['method', { method: 'POST' }],
    ['body', { body: {} }],
  ])('refuses the option %s, which tabs cannot share', (name, options) => {
    expect(() => connectShared(workerPort(), 'http://localhost/', options)).toThrow(
      new StreamClientError('invalid-option', `"${name}" cannot be shared by tabs: use connect()`),
    );
  });

  it('refuses what connect() refuses, before the worker has it', () => {
    expect(() => connectShared(workerPort(), 'nowhere')).toThrow(expect.objectContaining({ code: 'invalid-url' }));
    expect(() => connectShared(workerPort(), 'http://localhost/', { idle: -1 })).toThrow(
      expect.objectContaining({ code: 'invalid-option' }),
    );
  });

  it('returns a stream that sends no messages', () => {
    const stream = connectShared(workerPort(), 'http://localhost/');

    expect(() => stream.send('x')).toThrow(expect.objectContaining({ code: 'invalid-state' }));
  });
});

describe('a slow tab', () => {
  const serve = useRawServers();

  /** Returns the notices of a tab that reads one item, and the others when another tab has received all of them. */
  async function noticesOf(text: string): Promise<string[]> {
    const { url } = await serve((response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' }).end(`data: 0\n\n${text}`);
    });
    const [slow, quick] = [connectShared<number>(workerPort(), url), connectShared<number>(workerPort(), url)];
    const notices: string[] = [];
    slow.on('reset', () => notices.push('reset'));
    slow.on('lagged', () => notices.push('lagged'));
    const first = slow.next();
    for await (const _item of quick) {
      // The worker has received everything when this tab has.
    }
    await first;
    for await (const _item of slow) {
      // What is left.
    }
    return notices;
  }

  it('receives a reset before it receives how many items were dropped', async () => {
    const item = 'data: 1\n\n';
    const text = `${item.repeat(500)}event: reset\ndata: {}\n\n${item.repeat(900)}`;
    expect(await noticesOf(text)).toEqual(['reset', 'lagged']);
  });

  it.each([996, 997, 998, 999, 1_000, 1_001, 1_002])('receives the end after %i items', async (count) => {
    expect((await noticesOf('data: 1\n\n'.repeat(count))).length).toBeLessThan(2);
  });
});

describe.each(PLATFORMS)('%s: streams of connectShared()', (platform) => {
  const launch = useApps();
  const start = async () => {
    const app = await launch(platform, {
      controllers: [Feed],
      imports: [StreamingModule.registerHub({ name: 'feed' })],
    });
    return { app, hub: hubOf<number>(app) };
  };

  it('share one connection, which ends with the last of them', async () => {
    const { app, hub } = await start();
    const streams = [1, 2].map(() => connectShared<number>(workerPort(), app.url('/events')));
    const [one, two] = streams.map((stream) => stream.next());
    await joined(hub, 1);
    const id = await hub.publish(1);

    expect(await one).toEqual({ done: false, value: { id, type: undefined, data: 1 } });
    expect(await two).toEqual({ done: false, value: { id, type: undefined, data: 1 } });
    expect(hub.size()).toBe(1);
    expect(streams.map(({ lastEventId }) => lastEventId)).toEqual([id, id]);

    streams[0]?.close();
    await hub.publish(2);
    expect(await streams[0]?.next()).toEqual({ done: true, value: undefined });
    expect(await streams[1]?.next()).toMatchObject({ value: { data: 2 } });
    await streams[1]?.return?.();
    await joined(hub, 0);
  });

  it('have connections of their own if their options differ', async () => {
    const { app, hub } = await start();
    const streams = ['a', 'b'].map((token) =>
      connectShared<number>(workerPort(), app.url('/events'), { headers: { Authorization: token } }),
    );
    const items = streams.map((stream) => stream.next());
    await joined(hub, 2);
    await hub.publish(1);

    expect(await Promise.all(items)).toMatchObject([{ value: { data: 1 } }, { value: { data: 1 } }]);
    for (const stream of streams) stream.close();
    await joined(hub, 0);
  });

  it.each(['connecting', 'open', 'closed'] as const)(
    'end with the error of a listener that throws in the state %s, and leave the connection',
    async (state) => {
      const { app, hub } = await start();
      const stream = connectShared(workerPort(), app.url('/events'));
      stream.on('state', (each) => {
        if (each === state) {
          throw new Error('listener');
        }
      });
      const item = stream.next();
      if (state === 'closed') {
        await joined(hub, 1);
        stream.close();
      }

      await expect(item).rejects.toThrow('listener');
      expect(stream.state).toBe('closed');
      await joined(hub, 0);
    },
  );

  it.each([undefined, null, 0, ''])(
    'end if headers() rejects with %p, or a signal has it as its reason',
    async (reason) => {
      const { app, hub } = await start();
      const url = app.url('/events');
      const refused = connectShared(workerPort(), url, { headers: () => Promise.reject(reason) });
      await expect(refused.next()).rejects.toThrow(String(reason));

      const signal = AbortSignal.abort(reason);
      const aborted = connectShared(workerPort(), url, { signal });
      await expect(aborted.next()).rejects.toBe(signal.reason);
      expect(hub.size()).toBe(0);
    },
  );

  it('end with the reason of their signal, also in the middle of a wait', async () => {
    const { app, hub } = await start();
    const controller = new AbortController();
    const stream = connectShared(workerPort(), app.url('/events'), { signal: controller.signal });
    const item = stream.next();
    await joined(hub, 1);

    controller.abort(new Error('enough'));

    await expect(item).rejects.toThrow('enough');
    await joined(hub, 0);
  });
});
