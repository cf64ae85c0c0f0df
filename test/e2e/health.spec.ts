import { Controller, Get, ServiceUnavailableException } from '@nestjs/common';
import { HealthCheck, HealthCheckService, TerminusModule } from '@nestjs/terminus';
import { type BrokerStatus, MemoryBroker, Stream, StreamingHealth, StreamingModule } from '../../lib/index.js';
import { PLATFORMS } from '../support/app.js';
import { deferred } from '../support/events.js';
import { useApps } from '../support/running.js';

let finish = deferred();

@Controller()
class Feed {
  @Stream('feed', { format: 'ndjson' })
  async *feed() {
    yield 'x';
    await finish.promise;
  }
}

@Controller('health')
class Health {
  constructor(
    private readonly health: HealthCheckService,
    private readonly streaming: StreamingHealth,
  ) {}

  @Get('ready')
  @HealthCheck()
  ready() {
    return this.health.check([() => this.streaming.check(), () => this.streaming.check('again')]);
  }

  @Get('by-hand')
  async byHand() {
    const { streaming } = await this.streaming.check();
    if (streaming.status === 'down') {
      throw new ServiceUnavailableException(streaming);
    }
    return streaming;
  }
}

/** A broker whose connection a test can take away. */
class RemoteBroker extends MemoryBroker {
  answer: () => BrokerStatus = () => ({ connected: true, since: 1, behindMs: 0 });

  status(): BrokerStatus {
    return this.answer();
  }
}

describe.each(PLATFORMS)('%s: the health of streams', (platform) => {
  const launch = useApps();

  beforeEach(() => {
    finish = deferred();
  });

  async function start(broker?: MemoryBroker, orders = new RemoteBroker()) {
    const app = await launch(platform, {
      controllers: [Feed, Health],
      imports: [
        TerminusModule.forRoot({ logger: false }),
        StreamingModule.registerHub({ name: 'prices' }, { name: 'trades' }, { name: 'orders', broker: orders }),
      ],
      options: { ...(broker && { broker }), shutdown: { grace: 60_000 } },
    });
    const health = async (path: string) => {
      const response = await fetch(app.url(`/health/${path}`));
      return [response.status, await response.json()] as const;
    };
    return { ...app, health };
  }

  it('is up while the brokers are connected, for terminus and by hand', async () => {
    const { health } = await start(new RemoteBroker());
    const streaming = {
      status: 'up',
      draining: false,
      brokers: [
        { broker: 'RemoteBroker', hubs: ['prices', 'trades'], connected: true, since: 1, behindMs: 0 },
        { broker: 'RemoteBroker', hubs: ['orders'], connected: true, since: 1, behindMs: 0 },
      ],
    };

    const details = { streaming, again: streaming };
    expect(await health('ready')).toEqual([200, { status: 'ok', info: details, error: {}, details }]);
    expect(await health('by-hand')).toEqual([200, streaming]);
  });

  it('does not depend on brokers in memory', async () => {
    const { health } = await start();

    expect(await health('by-hand')).toMatchObject([200, { brokers: [{ hubs: ['orders'] }] }]);
  });

  it.each<[string, () => BrokerStatus]>([
    ['has no connection', () => ({ connected: false, since: 17, behindMs: 3 })],
    [
      'cannot say whether it has one',
      () => {
        throw new Error('boom');
      },
    ],
  ])('is down while a broker %s', async (_, answer) => {
    const orders = new RemoteBroker();
    const { health } = await start(undefined, orders);
    orders.answer = answer;

    const streaming = { status: 'down', draining: false, brokers: [{ hubs: ['orders'], connected: false }] };
    expect(await health('ready')).toMatchObject([503, { status: 'error', error: { streaming } }]);
    expect(await health('by-hand')).toMatchObject([503, streaming]);

    orders.answer = () => ({ connected: true, since: 18, behindMs: 0 });
    expect(await health('ready')).toMatchObject([200, { status: 'ok' }]);
  });

  it('is down while the application closes and its streams end', async () => {
    const { app, get, health } = await start();
    const client = await get('/feed', { Connection: 'close' });
    await client.until('"x"\n');

    const closed = app.close();
    while ((await health('by-hand'))[0] === 200) {
      // The application does not close in the turn of the call.
    }
    expect(await health('by-hand')).toMatchObject([503, { status: 'down', draining: true }]);
    finish.resolve();
    await closed;
    await client.closed();
  });
});
