import { Controller } from '@nestjs/common';
import {
  ConnectedStream,
  defineFormat,
  type Hub,
  InjectHub,
  Stream,
  type StreamConnection,
  StreamingModule,
  type StreamOptions,
} from '../../lib/index.js';
import { PLATFORMS } from '../support/app.js';
import { deferred } from '../support/events.js';
import { hubOf, joined, publishAll } from '../support/hub.js';
import { turns, useApps } from '../support/running.js';

const start = useApps();

const HIGH = '\ud83d';
const LOW = '\ude00';
/** The character that consists of both halves. */
const WHOLE = '😀';
const LOST = '\ufffd';

/** Strings that are sent one by one, each in a separate write, and the whole text. */
const CASES: readonly (readonly [name: string, chunks: readonly (string | Uint8Array)[], text: string])[] = [
  ['a character cut in two', [`a${HIGH}`, `${LOW}b`], `a${WHOLE}b`],
  ['only one character, cut in two', [HIGH, LOW], WHOLE],
  ['characters cut in two again and again', [HIGH, LOW + HIGH, LOW + HIGH, LOW], WHOLE.repeat(3)],
  ['an empty string between the halves', [`a${HIGH}`, '', `${LOW}b`], `a${WHOLE}b`],
  ['a first half at the end of the stream', ['a', HIGH], `a${LOST}`],
  ['a first half before another character', [HIGH, 'b'], `${LOST}b`],
  ['a first half before another first half', [HIGH, HIGH, LOW], LOST + WHOLE],
  ['a second half without a first', ['a', LOW], `a${LOST}`],
  ['a first half before bytes', [`a${HIGH}`, Buffer.from('b'), LOW], `a${LOST}b${LOST}`],
];

/** A stream of chunks, each of which is sent before the next. */
function feedOf(options: StreamOptions, chunks: readonly (string | Uint8Array)[]) {
  @Controller()
  class Feed {
    @Stream('yielded', options)
    async *yielded() {
      for (const chunk of chunks) {
        yield chunk;
        await turns();
      }
    }

    @Stream('sent', options)
    async sent(@ConnectedStream() stream: StreamConnection<string | Uint8Array>) {
      for (const chunk of chunks) {
        await stream.send(chunk);
        stream.flush();
        await turns();
      }
      void stream.close();
    }
  }
  return Feed;
}

describe.each(PLATFORMS)('%s: text', (platform) => {
  const own = defineFormat<string | Uint8Array>({ name: 'own', mediaTypes: ['text/x-own'], encode: (value) => value });

  describe.each<[string, StreamOptions]>([
    ['text', { format: 'text' }],
    ['text with flush: each', { format: 'text', flush: 'each' }],
    ['text with compression', { format: 'text', compression: { encodings: ['gzip'], threshold: 0 } }],
    ['bytes', { format: 'bytes' }],
    ['a format of its own', { format: own }],
  ])('as %s', (_format, options) => {
    it.each(CASES)('contains %s', async (_name, chunks, text) => {
      const { url } = await start(platform, { controllers: [feedOf(options, chunks)] });

      const bodies = await Promise.all(['/yielded', '/sent'].map(async (path) => (await fetch(url(path))).text()));

      expect(bodies).toEqual([text, text]);
    });
  });

  it('sends the head although its first chunk is half a character', async () => {
    const gate = deferred();
    @Controller()
    class Feed {
      @Stream('feed', { format: 'text' })
      async *feed() {
        yield HIGH;
        await gate.promise;
        yield LOW;
      }
    }
    const { get } = await start(platform, { controllers: [Feed] });
    const client = await get('/feed');

    await client.until('\r\n\r\n');
    gate.resolve();
    await client.until('0\r\n\r\n');

    expect(Buffer.from(client.body, 'latin1').toString()).toBe(WHOLE);
  });

  it('is complete if a client does not read for a while', async () => {
    const slice = `${'x'.repeat(100_000)}${HIGH}`;
    @Controller()
    class Feed {
      @Stream('feed', { format: 'text' })
      feed(@ConnectedStream() stream: StreamConnection<string>) {
        // The chunks are not awaited, so those that the client does not read are queued.
        for (let i = 0; i < 30; i++) {
          void stream.send(i === 0 ? slice : `${LOW}${slice}`);
        }
        void stream.send(LOW);
        void stream.close();
      }
    }
    const { url } = await start(platform, { controllers: [Feed] });

    const text = await (await fetch(url('/feed'))).text();

    expect(text).toBe(`${'x'.repeat(100_000)}${WHOLE}`.repeat(30));
  });
});

describe.each(PLATFORMS)('%s: text of a hub', (platform) => {
  @Controller()
  class Feed {
    constructor(@InjectHub('feed') private readonly hub: Hub<string>) {}

    @Stream('feed', { format: 'text' })
    feed() {
      return this.hub.subscribe();
    }

    @Stream('history', { format: 'text' })
    history() {
      return this.hub.subscribe({ last: 10 });
    }
  }

  it('is complete for each client, whichever halves it has received', async () => {
    const app = await start(platform, {
      controllers: [Feed],
      imports: [StreamingModule.registerHub({ name: 'feed' })],
    });
    const hub = hubOf<string>(app);
    const early = await app.get('/feed');
    await joined(hub, 1);
    await hub.publish(`a${HIGH}`);
    await early.until('a');
    const late = await app.get('/feed');
    const reading = await app.get('/history');
    await joined(hub, 3);
    await hub.publish(`${LOW}b`);
    await publishAll(hub, [HIGH, `${LOW}c`]);
    await Promise.all([early, late, reading].map((client) => client.until('c')));
    await hub.publish(`d${HIGH}`);
    await hub.close();
    await Promise.all([early, late, reading].map((client) => client.until('0\r\n\r\n')));

    const [first, second, third] = [early, late, reading].map(({ body }) => Buffer.from(body, 'latin1').toString());
    expect(first).toBe(`a${WHOLE}b${WHOLE}cd${LOST}`);
    expect(second).toBe(`${LOST}b${WHOLE}cd${LOST}`);
    expect(third).toBe(first);
  });
});
