import { Body, Controller, Param, Post } from '@nestjs/common';
import { Hub, InjectHub, LastEventId, Sse, Stream, StreamingModule } from '../../lib/index.js';
import { PLATFORMS } from '../support/app.js';
import { turns, useApps } from '../support/running.js';

@Controller('feed')
class Feed {
  constructor(@InjectHub('prices') readonly prices: Hub<unknown>) {}

  @Sse('sse/:symbol')
  sse(@Param('symbol') topic: string, @LastEventId() after?: string) {
    return this.prices.subscribe({ topic, after });
  }

  @Sse('sse')
  all(@LastEventId() after?: string) {
    return this.prices.subscribe({ after });
  }

  @Stream('any')
  any() {
    return this.prices.subscribe();
  }

  @Sse('iterated')
  async *iterated(@LastEventId() after?: string) {
    for await (const event of this.prices.subscribe({ after })) {
      yield event;
    }
  }

  @Post(':symbol')
  publish(@Param('symbol') topic: string, @Body() price: unknown) {
    return this.prices.publish(price, { topic });
  }
}

const start = useApps();

describe.each(PLATFORMS)('%s: a hub', (platform) => {
  const setup = { imports: [StreamingModule.registerHub({ name: 'prices' })], controllers: [Feed] };

  it('sends what is published to everyone who listens', async () => {
    const { app, get } = await start(platform, setup);
    const hub = app.get(Feed).prices;
    const a = await get('/feed/sse');
    const b = await get('/feed/any', { Accept: 'application/x-ndjson' });
    const c = await get('/feed/sse/x');
    const d = await get('/feed/iterated');
    const e = await get('/feed/any');
    for (const x of [a, b, c]) await x.until('\r\n\r\n');
    await turns(20);
    expect(hub.size()).toBe(5);
    const id1 = await hub.publish({ n: 1 });
    const id2 = await hub.publish({ n: 2 }, { topic: 'x', type: 't' });
    await a.until(id2);
    await b.until('{"n":2}');
    await c.until(id2);
    await d.until(id2);
    await e.until('{"n":2}');

    const back = await get('/feed/sse', { 'Last-Event-ID': id1 });
    await back.until(id2);
    const lost = await get('/feed/iterated', { 'Last-Event-ID': 'abc' });
    await lost.until(id2);
    expect(lost.body).toContain("event: reset");
  });
});
