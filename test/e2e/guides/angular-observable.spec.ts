import { Controller } from '@nestjs/common';
import { from, lastValueFrom, type Observable, type Subscription, toArray } from 'rxjs';
import { connect } from '../../../lib/client/index.js';
import { Stream } from '../../../lib/index.js';
import { PLATFORMS } from '../../support/app.js';
import { evaluate } from '../../support/document-app.js';
import { blockNamed } from '../../support/documentation.js';
import { Recorder } from '../../support/events.js';
import { untilStable, useApps } from '../../support/running.js';

interface Guide {
  fromStream<T>(url: string): Observable<{ readonly data: T }>;
}

@Controller()
class Feed {
  @Stream('silent', { format: 'sse' })
  async *silent() {
    yield 'hello';
    await new Promise(() => undefined);
  }

  @Stream('two', { format: 'sse' })
  *two() {
    yield 1;
    yield 2;
  }
}

describe.each(PLATFORMS)('%s: an Observable of a stream', (platform) => {
  const launch = useApps();
  let fromStream: Guide['fromStream'];
  let closed: Recorder;

  beforeEach(async () => {
    closed = new Recorder();
    const block = blockNamed('docs/angular.md', 'web/from-stream.ts');
    ({ fromStream } = (await evaluate(block, () => undefined, {})) as unknown as Guide);
  });

  const start = () =>
    launch(platform, {
      controllers: [Feed],
      options: { hooks: { onClose: (_, { code }) => closed.add(code) } },
    });

  /** Subscribes, and resolves when the first item has come. */
  const subscribed = (items: Observable<unknown>) =>
    new Promise<Subscription>((resolve, reject) => {
      const subscription: Subscription = items.subscribe({ next: () => resolve(subscription), error: reject });
    });

  it('of the guide closes its connection at once when it is unsubscribed from, while no item comes', async () => {
    const app = await start();
    (await subscribed(fromStream(app.url('/silent')))).unsubscribe();
    expect(await closed.count(1)).toEqual(['client-closed']);
  });

  it('of the guide emits the items, and completes with the stream', async () => {
    const app = await start();
    const items = await lastValueFrom(fromStream(app.url('/two')).pipe(toArray()));
    expect(items).toMatchObject([{ data: 1 }, { data: 2 }]);
  });

  it('of the guide fails with the error of the stream', async () => {
    const app = await start();
    await expect(lastValueFrom(fromStream(app.url('/missing')))).rejects.toMatchObject({ status: 404 });
  });

  it('of from() keeps its connection open after it is unsubscribed from, as the guide says', async () => {
    const app = await start();
    const stream = connect(app.url('/silent'));
    (await subscribed(from(stream))).unsubscribe();
    await untilStable(() => closed.seen.length, 200);
    expect(closed.seen).toEqual([]);
    stream.close();
    await closed.count(1);
  });
});
