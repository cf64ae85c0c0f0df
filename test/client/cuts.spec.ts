import { Controller } from '@nestjs/common';
import fc from 'fast-check';
import { WebSocket } from 'ws';
import { connect } from '../../lib/client/index.js';
import { Hub, InjectHub, LastEventId, Sse, StreamingModule } from '../../lib/index.js';
import { PLATFORMS } from '../support/app.js';
import { hubOf, joined, publishAll, range } from '../support/hub.js';
import { turns, useApps } from '../support/running.js';

@Controller()
class Feed {
  constructor(@InjectHub('feed') private readonly hub: Hub<number>) {}

  @Sse('feed')
  feed(@LastEventId() after?: string) {
    return this.hub.subscribe({ after });
  }
}

/** What happens, one after the other. */
const step = fc.oneof(
  fc.record({ kind: fc.constant('publish' as const), count: fc.integer({ min: 1, max: 20 }) }),
  fc.record({ kind: fc.constant('cut' as const), count: fc.constant(1) }),
  fc.record({ kind: fc.constant('wait' as const), count: fc.integer({ min: 1, max: 5 }) }),
);

describe.each(PLATFORMS)('%s: a client whose connection is cut again and again', (platform) => {
  const launch = useApps();

  it.each(['sse', 'ws', 'poll'] as const)(
    'receives each item over %s once and in order, wherever it is cut, and however slowly it reads',
    async (as) => {
      const app = await launch(platform, {
        controllers: [Feed],
        imports: [StreamingModule.registerHub({ name: 'feed' })],
        options: { websocket: true },
      });
      const hub = hubOf<number>(app);
      let published = 0;
      await fc.assert(
        fc.asyncProperty(fc.array(step, { maxLength: 30 }), fc.nat(3), async (steps, pause) => {
          const stream = connect<number>(app.url('/feed'), { as, WebSocket, retry: { base: 1, max: 1 } });
          const publish = async (count: number): Promise<void> => {
            await publishAll(hub, range(published + 1, published + count));
            published += count;
          };
          const from = published + 1;
          const first = stream.next();
          await joined(hub, 1);
          await publish(1);
          const numbers = [(await first).value?.data];
          const reading = (async () => {
            for await (const { data } of stream) {
              if (data === 0) break;
              numbers.push(data);
              await turns(pause);
            }
          })();
          for (const { kind, count } of steps) {
            if (kind === 'publish') {
              await publish(count);
            } else if (kind === 'wait') {
              await turns(count);
            } else {
              for (const socket of app.sockets.seen.splice(0)) {
                socket.destroy();
              }
            }
          }
          await hub.publish(0);
          await reading;
          expect(numbers).toEqual(range(from, published));
          await joined(hub, 0);
        }),
        { numRuns: 25 },
      );
    },
    60_000,
  );
});
