import { Controller } from '@nestjs/common';
import { WebSocket } from 'ws';
import { connect } from '../../lib/client/index.js';
import { Hub, InjectHub, LastEventId, Stream, StreamingModule } from '../../lib/index.js';
import { PLATFORMS } from '../support/app.js';
import { hubOf, publishAll } from '../support/hub.js';
import { useApps } from '../support/running.js';

@Controller()
class Notes {
  constructor(@InjectHub('notes') private readonly hub: Hub<number>) {}

  @Stream('notes', { format: ['sse', 'ndjson'] })
  notes(@LastEventId() after?: string) {
    return this.hub.subscribe(after ? { after } : { last: 100 });
  }
}

describe.each(PLATFORMS)('%s: a stream that its own loop ends', (platform) => {
  const launch = useApps();

  async function start() {
    const app = await launch(platform, {
      controllers: [Notes],
      imports: [StreamingModule.registerHub({ name: 'notes' })],
      options: { websocket: true },
    });
    const ids = await publishAll(hubOf(app, 'notes'), [1, 2, 3, 4]);
    const stored: string[] = [];
    const resume = { get: () => stored.at(-1), set: (_: string, id: string) => stored.push(id) };
    return { ids, stored, options: { WebSocket, resume }, url: app.url('/notes') };
  }

  it.each(['sse', 'ws', 'poll'] as const)(
    'by close() yields no further item over %s, and stores the id of its last item',
    async (as) => {
      const { ids, stored, options, url } = await start();
      const received: unknown[] = [];
      const stream = connect(url, { ...options, as });
      for await (const { data } of stream) {
        received.push(data);
        if (data === 2) {
          stream.close();
        }
      }
      expect(received).toEqual([1, 2]);
      expect(stored.at(-1)).toBe(ids[1]);

      const rest = connect(url, { ...options, as });
      expect((await rest.next()).value?.data).toBe(3);
      rest.close();
    },
  );

  it.each(['sse', 'ws', 'poll'] as const)(
    'by its signal yields no further item over %s, and throws the reason',
    async (as) => {
      const { ids, stored, options, url } = await start();
      const controller = new AbortController();
      const received: unknown[] = [];
      const reading = (async () => {
        for await (const { data } of connect(url, { ...options, as, signal: controller.signal })) {
          received.push(data);
          if (data === 2) {
            controller.abort(new Error('enough'));
          }
        }
      })();
      await expect(reading).rejects.toThrow('enough');
      expect(received).toEqual([1, 2]);
      expect(stored.at(-1)).toBe(ids[1]);
    },
  );
});
