import { Controller, Param } from '@nestjs/common';
import { WebSocket } from 'ws';
import { connect, type StreamTransport } from '../../lib/client/index.js';
import { Hub, InjectHub, LastEventId, Stream, StreamingModule } from '../../lib/index.js';
import { PLATFORMS } from '../support/app.js';
import { useApps } from '../support/running.js';

const HUB = StreamingModule.registerHub({ name: 'notes' });
const TRANSPORTS: readonly StreamTransport[] = ['sse', 'ndjson', 'json-seq', 'ws', 'poll'];
let notes: Hub<number>;

@Controller()
class Notes {
  constructor(@InjectHub('notes') hub: Hub<number>) {
    notes = hub;
  }

  @Stream('notes', { format: ['sse', 'ndjson', 'json-seq'] })
  notes(@LastEventId() after?: string) {
    return notes.subscribe(after ? { after } : { last: 100 });
  }

  @Stream('numbers/:n', { format: ['sse', 'ndjson', 'json-seq'] })
  *numbers(@Param('n') n: string) {
    for (let i = 1; i <= Number(n); i++) yield { i };
  }

  @Stream('half', { format: ['sse', 'ndjson', 'json-seq'] })
  async *half() {
    yield { i: 1 };
    await Promise.resolve();
    throw new Error('secret');
  }
}

describe.each(PLATFORMS)('%s: a client', (platform) => {
  const launch = useApps();
  const start = () => launch(platform, { controllers: [Notes], imports: [HUB], options: { websocket: true } });

  it.each(TRANSPORTS)('receives all items over %s, and ends with the stream', async (as) => {
    const app = await start();
    const items: unknown[] = [];
    for await (const { data } of connect(app.url('/numbers/2'), { as, WebSocket })) {
      items.push(data);
    }
    expect(items).toEqual([{ i: 1 }, { i: 2 }]);
  });

  it.each(['sse', 'ndjson', 'json-seq', 'ws'] as const)(
    'throws the error record of %s after the last item',
    async (as) => {
      const app = await start();
      const stream = connect(app.url('/half'), { as, WebSocket });
      expect(await stream.next()).toMatchObject({ value: { data: { i: 1 } } });
      await expect(stream.next()).rejects.toMatchObject({
        code: 'failed',
        status: 500,
        body: { statusCode: 500, message: 'Internal server error' },
      });
    },
  );

  it.each(['sse', 'ws', 'poll'] as const)(
    'receives over %s what it has missed while its connection was cut',
    async (as) => {
      const app = await start();
      const stream = connect(app.url('/notes'), { as, WebSocket, retry: { base: 1 } });
      for (let n = 1; n <= 3; n++) {
        await notes.publish(n);
        expect(await stream.next()).toMatchObject({ value: { data: n } });
        for (const socket of app.sockets.seen) {
          socket.destroy();
        }
      }
      await stream.return?.();
      expect(stream.state).toBe('closed');
    },
  );
});
