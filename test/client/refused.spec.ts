import { Controller } from '@nestjs/common';
import { WebSocket } from 'ws';
import { connect } from '../../lib/client/index.js';
import { Hub, InjectHub, LastEventId, Stream, StreamingModule } from '../../lib/index.js';
import { PLATFORMS } from '../support/app.js';
import { Recorder } from '../support/events.js';
import { hubOf, joined } from '../support/hub.js';
import { useApps } from '../support/running.js';

@Controller()
class Notes {
  constructor(@InjectHub('notes') private readonly notes: Hub<number>) {}

  @Stream('notes', { format: ['sse', 'ndjson'] })
  all(@LastEventId() after?: string) {
    return this.notes.subscribe({ after });
  }
}

describe.each(PLATFORMS)('%s: a client that is refused above limits.connections', (platform) => {
  const launch = useApps();

  it.each(['sse', 'poll', 'ndjson', 'ws'] as const)('comes back over %s, and receives the stream', async (as) => {
    const app = await launch(platform, {
      controllers: [Notes],
      imports: [StreamingModule.registerHub({ name: 'notes' })],
      options: {
        websocket: true,
        limits: { connections: 1, retryAfter: 1_000 },
        shutdown: { retry: 10, grace: 0 },
      },
    });
    const hub = hubOf<number>(app, 'notes');
    const other = await app.get('/notes', { Accept: 'text/event-stream' });
    await joined(hub, 1);
    const waits = new Recorder<unknown>();
    const stream = connect<number>(app.url('/notes'), { as, WebSocket, retry: { base: 10, max: 10 } });
    stream.on('state', (state, error) => {
      if (state === 'waiting') waits.add((error as { status?: number } | undefined)?.status);
    });
    const first = stream.next();
    const refused = as === 'ndjson' || as === 'ws' ? 503 : undefined;
    expect((await waits.count(1))[0]).toBe(refused);

    other.disconnect();
    await joined(hub, 0);
    await joined(hub, 1);
    await hub.publish(1);

    expect(await first).toMatchObject({ value: { data: 1 } });
    stream.close();
  });
});

describe.each(PLATFORMS)('%s: a client of a server that accepts no WebSocket', (platform) => {
  const launch = useApps();

  it('is never open, and fails with the error network', async () => {
    const app = await launch(platform, {
      controllers: [Notes],
      imports: [StreamingModule.registerHub({ name: 'notes' })],
    });
    const states: string[] = [];
    const stream = connect<number>(app.url('/notes'), { as: 'ws', WebSocket, retry: { attempts: 0 } });
    stream.on('state', (state) => states.push(state));
    await expect(stream.next()).rejects.toMatchObject({ code: 'network' });
    expect(states).toEqual(['connecting', 'closed']);
  });
});
