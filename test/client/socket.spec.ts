import { once } from 'node:events';
import {
  type CanActivate,
  Controller,
  ForbiddenException,
  HttpException,
  Injectable,
  NotFoundException,
  UnauthorizedException,
  UseGuards,
} from '@nestjs/common';
import fc from 'fast-check';
import { WebSocket, WebSocketServer } from 'ws';
import { type ClientStream, connect, StreamClientError, StreamResponseError } from '../../lib/client/index.js';
import {
  type BrokerRetention,
  ConnectedStream,
  type Hub,
  InjectHub,
  LastEventId,
  MemoryBroker,
  Stream,
  type StreamConnection,
  StreamingModule,
} from '../../lib/index.js';
import { PLATFORMS, type Platform } from '../support/app.js';
import { Recorder } from '../support/events.js';
import { hubOf } from '../support/hub.js';
import { useApps } from '../support/running.js';

const FAST = { as: 'ws', WebSocket, retry: { base: 1, max: 1 } } as const;

/** Messages of all clients, as the server has received them. */
let messages: Recorder<unknown>;
/** What becomes of the next requests: the handshake of a WebSocket, and the request with which the client asks why it was refused. */
let refusals: HttpException[];

@Injectable()
class Gate implements CanActivate {
  canActivate(): boolean {
    const refusal = refusals.shift();
    if (refusal) throw refusal;
    return true;
  }
}

@Controller()
class Talk {
  constructor(@InjectHub('notes') private readonly hub: Hub<unknown>) {}

  @Stream('echo')
  async *echo(@ConnectedStream() stream: StreamConnection) {
    yield 'hello';
    for await (const message of stream.messages) {
      messages.add(message);
      yield message;
    }
  }

  @Stream('notes')
  notes(@LastEventId() after?: string) {
    return this.hub.subscribe(after ? { after } : { last: 100 });
  }

  @UseGuards(Gate)
  @Stream('guarded')
  *guarded() {
    yield 'welcome';
  }
}

/** A broker to which another program writes. */
class SharedBroker extends MemoryBroker {
  readonly opened: string[] = [];

  override open(log: string, retention: BrokerRetention): Promise<void> {
    this.opened.push(log);
    return super.open(log, retention);
  }
}

beforeEach(() => {
  messages = new Recorder();
  refusals = [];
});

describe.each(PLATFORMS)('%s: a client over WebSocket', (platform) => {
  const launch = useApps();
  const start = (broker = new SharedBroker()) => launchTalk(launch, platform, broker);

  it('sends text, bytes and objects, and what it sends comes to the handler in order', async () => {
    const app = await start();
    const stream = connect(app.url('/echo'), FAST);
    expect(await stream.next()).toMatchObject({ value: { data: 'hello' } });
    stream.send('text');
    stream.send({ a: [1] });
    stream.send([1, 2]);
    stream.send(new Uint8Array([1, 2, 3]));
    expect(await messages.count(4)).toEqual(['text', '{"a":[1]}', '[1,2]', Buffer.from([1, 2, 3])]);
    expect(await stream.next()).toMatchObject({ value: { data: 'text' } });
    stream.close();
  });

  it('refuses send() before the first WebSocket is open, while there is none, and after the end', async () => {
    const app = await start();
    const stream = connect(app.url('/echo'), { ...FAST, retry: { base: 1, max: 1, unsafe: true } });
    const refused = expect.objectContaining({ code: 'invalid-state' });
    const states: string[] = [];
    const attempts: unknown[] = [];
    stream.on('state', (state) => {
      states.push(state);
      if (state === 'connecting' || state === 'waiting') {
        try {
          attempts.push(stream.send('too early'));
        } catch (error) {
          attempts.push(error);
        }
      }
    });
    expect(() => stream.send('too early')).toThrow(refused);
    await stream.next();
    app.sockets.seen.at(-1)?.destroy();
    expect(await stream.next()).toMatchObject({ value: { data: 'hello' } });
    stream.send('again');
    expect(await messages.count(1)).toEqual(['again']);
    stream.close();
    expect(() => stream.send('too late')).toThrow(refused);
    expect(states).toEqual(['connecting', 'open', 'waiting', 'connecting', 'open', 'closed']);
    expect(attempts).toEqual([refused, refused, refused]);
  });

  it.each([
    [401, new UnauthorizedException()],
    [403, new ForbiddenException()],
    [404, new NotFoundException()],
    [409, new HttpException('taken', 409)],
  ])('ends when its handshake is refused with %i', async (status, refusal) => {
    const app = await start();
    refusals = [refusal, refusal];
    const error = await connect(app.url('/guarded'), FAST)
      .next()
      .catch((each) => each);
    expect(error).toBeInstanceOf(StreamResponseError);
    expect(error).toMatchObject({ code: 'response', status });
  });

  it('ends when there is no such route', async () => {
    const app = await start();
    await expect(connect(app.url('/missing'), FAST).next()).rejects.toMatchObject({ code: 'response', status: 404 });
  });

  it.each([408, 425, 429, 503])('tries again after a handshake that is refused with %i', async (status) => {
    const app = await start();
    refusals = [new HttpException('later', status), new HttpException('later', status)];
    const stream = connect(app.url('/guarded'), FAST);
    const waits: unknown[] = [];
    stream.on('state', (state, error) => state === 'waiting' && waits.push(error));
    expect(await stream.next()).toMatchObject({ value: { data: 'welcome' } });
    expect(waits).toMatchObject([{ status }]);
    stream.close();
  });

  it('receives JSON of several lines, which another program has added to the log of a hub', async () => {
    const broker = new SharedBroker();
    const app = await start(broker);
    await hubOf(app, 'notes').publish('first');
    const log = broker.opened.find((name) => name.includes('notes')) ?? '';
    for (const data of ['{\n  "a": 1,\r\n  "b": "x\\ny"\r}', '[\n]', '\n2\n']) {
      await broker.append(log, { data, encoding: 'json' });
    }
    await hubOf(app, 'notes').publish('last');
    const items: unknown[] = [];
    for await (const { data } of connect(app.url('/notes'), FAST)) {
      items.push(data);
      if (data === 'last') break;
    }
    expect(items).toEqual(['first', { a: 1, b: 'x\ny' }, [], 2, 'last']);
  });
});

function launchTalk(launch: ReturnType<typeof useApps>, platform: Platform, broker: SharedBroker) {
  return launch(platform, {
    controllers: [Talk],
    imports: [StreamingModule.registerHub({ name: 'notes', broker })],
    options: { websocket: true },
  });
}

describe('a client of a WebSocket server of another kind', () => {
  let server: WebSocketServer;

  beforeEach(async () => {
    server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
    await once(server, 'listening');
  });

  afterEach(() => {
    for (const socket of server.clients) {
      socket.terminate();
    }
    server.close();
  });

  /** Sends messages to the next client, and closes its WebSocket. */
  function receive(sent: readonly string[], code = 1_000): ClientStream {
    server.once('connection', (socket) => {
      for (const message of sent) {
        socket.send(message);
      }
      socket.close(code);
    });
    const { port } = server.address() as { port: number };
    return connect(`http://127.0.0.1:${port}/`, { ...FAST, retry: { attempts: 0 } });
  }

  it('receives every envelope as it was sent, with any white space', async () => {
    const envelope = fc.record(
      {
        id: fc.string({ maxLength: 20 }),
        type: fc.string({ unit: 'binary' }).filter((type) => !/^(error|reset|lagged|position|shutdown)$/.test(type)),
        data: fc.jsonValue(),
      },
      { requiredKeys: ['data'] },
    );
    const space = fc.constantFrom<(string | number)[]>(0, 2, '\t');
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(envelope, space), { maxLength: 10 }), async (sent) => {
        const stream = receive(sent.map(([value, indent]) => JSON.stringify(value, null, indent)));
        const items: unknown[] = [];
        for await (const item of stream) items.push(item);
        expect(items).toEqual(
          sent.map(([{ id, type, data }]) => ({ id, type, data: JSON.parse(JSON.stringify(data)) })),
        );
      }),
      { numRuns: 100 },
    );
  }, 60_000);

  it.each(['{"next":false}', '{"next":true}', '{"error":1}', '{"text":"1"}', '{"id":null}', '{}', 'null', '1'])(
    'takes the message %s for an event without data',
    async (message) => {
      const stream = receive([message, '{"id":"a","data":1}']);
      expect(await stream.next()).toEqual({ done: false, value: { id: 'a', type: undefined, data: 1 } });
      expect(await stream.next()).toEqual({ done: true, value: undefined });
    },
  );

  it('ends in order, whatever JSON or text a message is', async () => {
    const message = fc.oneof(fc.json(), fc.string({ unit: 'binary' }));
    await fc.assert(
      fc.asyncProperty(message, async (text) => {
        const stream = receive([text]);
        const end = await stream
          .next()
          .then(() => stream.next())
          .catch((error) => error);
        expect(end instanceof StreamClientError || end.done).toBe(true);
        expect(stream.state).toBe('closed');
      }),
      { numRuns: 200 },
    );
  }, 60_000);
});
