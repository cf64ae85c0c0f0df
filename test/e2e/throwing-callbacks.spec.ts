import { Controller, Query } from '@nestjs/common';
import { map } from 'rxjs';
import {
  type BrokerRecord,
  defineFormat,
  Hub,
  InjectHub,
  MemoryBroker,
  Stream,
  StreamingModule,
  type StreamingModuleOptions,
} from '../../lib/index.js';
import { PLATFORMS, type Platform } from '../support/app.js';
import { Recorder } from '../support/events.js';
import { dataOf, eventsUntil, hubOf, joined, SSE } from '../support/hub.js';
import { realProcess } from '../support/real-process.js';
import { turns, useApps } from '../support/running.js';

const launch = useApps();

/** The errors that would have ended the process. */
const fatal = new Recorder();

beforeEach(() => {
  realProcess.on('uncaughtException', fatal.add).on('unhandledRejection', fatal.add);
});

afterEach(async () => {
  // RxJS throws in a timer, and unhandled rejections are detected at the end of a turn.
  await new Promise((resolve) => setTimeout(resolve, 5));
  await turns(2);
  realProcess.off('uncaughtException', fatal.add).off('unhandledRejection', fatal.add);
  expect(fatal.seen.splice(0)).toEqual([]);
});

const boom = (): never => {
  throw new Error('boom');
};
const reject = async (): Promise<never> => boom();

const bad = defineFormat({ name: 'bad', mediaTypes: ['application/x-bad'], encode: boom });

@Controller()
class Feed {
  constructor(@InjectHub('feed') readonly hub: Hub) {}

  @Stream('feed', { format: ['sse', bad] })
  feed(@Query('filter') filter?: string) {
    const filters = { throws: boom, rejects: reject as unknown as () => boolean };
    return this.hub.subscribe({ filter: filters[filter as keyof typeof filters] });
  }
}

async function start(platform: Platform, options: StreamingModuleOptions = {}) {
  const imports = [StreamingModule.registerHub({ name: 'feed' })];
  const app = await launch(platform, { controllers: [Feed], imports, options });
  return { ...app, hub: hubOf(app) };
}

describe.each(PLATFORMS)('%s: a callback of the application', (platform) => {
  it.each<[string, (hub: Hub) => unknown]>([
    ['throws', (hub) => hub.presence.subscribe(boom)],
    ['rejects', (hub) => hub.presence.subscribe(reject)],
    ['throws as an observer', (hub) => hub.presence.subscribe({ next: boom, complete: boom })],
    ['throws in an operator', (hub) => hub.presence.pipe(map(boom)).subscribe(() => undefined)],
    ['throws behind an operator', (hub) => hub.presence.pipe(map(String)).subscribe(boom)],
  ])('that listens to the presence of a hub and %s is logged, and the others are called', async (_how, listen) => {
    const { get, hub, logs } = await start(platform);
    const sizes: number[] = [];
    listen(hub);
    hub.presence.subscribe(({ size }) => sizes.push(size));

    const client = await get('/feed', SSE);
    await joined(hub, 1);
    await hub.publish('a');
    await client.until('data: a\n\n');
    client.disconnect();
    await joined(hub, 0);

    expect(sizes).toEqual([1, 0]);
    expect(logs.lines.join('\n')).toContain('A listener of the presence of the hub "feed" threw');
  });

  it.each(['filter=throws', 'filter=rejects', 'format=bad'])(
    'that fails for a subscriber makes only the stream of that subscriber fail: %s',
    async (what) => {
      const { get, hub, logs } = await start(platform);
      const [client, other] = [
        await get(`/feed?${what}`, what === 'format=bad' ? { Accept: 'application/x-bad' } : SSE),
        await get('/feed', SSE),
      ];
      await joined(hub, 2);

      await hub.publish('a');
      await client.closed();
      await hub.publish('b');
      await eventsUntil(other, 2);

      expect(dataOf(other.body)).toEqual(['a', 'b']);
      expect(logs.of('error').join('\n')).toMatch(/boom|returned a promise/);
    },
  );

  it.each([
    ['throws', boom],
    ['rejects', reject],
    ['returns undefined', () => undefined],
    ['returns an object', () => ({})],
  ])('of limits.clientOf that %s causes a 500', async (_how, clientOf) => {
    const { get } = await start(platform, { limits: { perClient: 1, clientOf: clientOf as unknown as () => string } });

    const client = await get('/feed', SSE);

    await client.until(/^HTTP\/1\.1 500 /);
  });

  it.each([
    ['throws', boom],
    ['rejects', reject],
    ['promises true', async () => true],
  ])('of websocket.origins that %s opens no WebSocket', async (_how, origins) => {
    const { get } = await start(platform, { websocket: { origins: origins as unknown as () => boolean } });

    const client = await get('/feed', {
      Connection: 'Upgrade',
      Upgrade: 'websocket',
      Origin: 'http://evil.test',
      'Sec-WebSocket-Version': '13',
      'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
    });

    await client.until(/^HTTP\/1\.1 500 /);
  });

  it.each([
    ['throws', boom, 'boom'],
    ['rejects', reject, 'returned a promise'],
    ['promises false', async () => false, 'returned a promise'],
  ])('of StreamRegistry.close() that %s closes no stream', async (_how, match, message) => {
    const { get, hub, registry } = await start(platform);
    const client = await get('/feed', SSE);
    await joined(hub, 1);

    await expect(registry.close(match as unknown as () => boolean)).rejects.toThrow(message);
    await hub.publish('a');

    await client.until('data: a\n\n');
  });

  it('that observes streams does not fail them, and its errors are logged', async () => {
    const { get, hub, logs, registry } = await start(platform);
    registry.observe({ began: boom, opened: boom, ended: boom });
    const client = await get('/feed', { ...SSE, Connection: 'close' });
    await joined(hub, 1);
    await hub.publish('a');
    await client.until('data: a\n\n');

    expect(await registry.close()).toBe(1);

    await client.closed();
    expect(registry.size).toBe(0);
    expect(logs.of('error').filter((line) => line.includes('An observer of streams threw'))).toHaveLength(3);
  });

  it('of a broker to which an invalid record is passed logs that, and the next records are read', async () => {
    let send: ((records: readonly BrokerRecord[]) => void) | undefined;
    class Careless extends MemoryBroker {
      override tail(log: string, listener: (records: readonly BrokerRecord[]) => void) {
        send = listener;
        return super.tail(log, listener);
      }
    }
    const { get, hub, logs } = await start(platform, { broker: new Careless() });
    const client = await get('/feed', SSE);
    await joined(hub, 1);

    send?.([null as unknown as BrokerRecord]);
    send?.(undefined as unknown as BrokerRecord[]);
    await hub.publish('a');

    await client.until('data: a\n\n');
    expect(logs.lines.join('\n')).toContain('The hub "feed" cannot read what its broker sent');
  });
});
