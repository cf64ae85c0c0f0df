import type { Http2Server } from 'node:http2';
import { Controller, RequestMethod, type Type } from '@nestjs/common';
import { Subject } from 'rxjs';
import { ConnectedStream, Stream, type StreamConnection, type StreamHooks } from '../../lib/index.js';
import { Recorder } from '../support/events.js';
import { useSessions } from '../support/http2-client.js';
import {
  ACK,
  block,
  CANCEL,
  COMPRESSION_ERROR,
  CONTINUATION,
  DATA,
  END_HEADERS,
  END_STREAM,
  type Fields,
  FLOW_CONTROL_ERROR,
  FRAME_SIZE_ERROR,
  type Frame,
  GOAWAY,
  HEADERS,
  INTERNAL_ERROR,
  PADDED,
  PING,
  PRIORITY,
  PROTOCOL_ERROR,
  PUSH_PROMISE,
  RawHttp2,
  RST_STREAM,
  requestFields,
  SETTINGS,
  STREAM_CLOSED,
  setting,
  uint32,
  WINDOW_UPDATE,
} from '../support/raw-http2.js';
import { useApps } from '../support/running.js';
import { eventually } from '../support/transports.js';

const launch = useApps();
const openSession = useSessions();
const clients: RawHttp2[] = [];

afterEach(() => {
  for (const client of clients.splice(0)) {
    client.leave();
  }
});

/** What happens to streams, as hooks see it. */
function watching() {
  const opened = new Recorder();
  const closed = new Recorder();
  const hooks: StreamHooks = {
    onOpen: (stream) => opened.add(stream.route),
    onClose: (_stream, { code }) => closed.add(code),
  };
  return { opened, closed, hooks };
}

/** Streams, of which one never ends: the test sends chunks to all its clients. */
async function start() {
  const feed = new Subject<string>();
  @Controller()
  class Streams {
    @Stream('feed', { format: 'text', heartbeat: false, sendTimeout: false })
    feed(@ConnectedStream() stream: StreamConnection) {
      void stream.send('begin;');
      const subscription = feed.subscribe((text) => void stream.send(text));
      stream.hooks({ onClose: () => subscription.unsubscribe() });
    }

    @Stream('beating', { format: 'sse', heartbeat: 20, sendTimeout: false })
    beating(@ConnectedStream() stream: StreamConnection) {
      void stream.send('begin;');
    }

    @Stream('bytes', { format: 'bytes' })
    *bytes() {
      yield Buffer.alloc(50_000, 'x');
    }

    @Stream('posted', { format: 'text', method: RequestMethod.POST })
    *posted() {
      yield 'posted';
    }
  }
  const controllers: Type[] = [Streams];
  const { hooks, opened, closed } = watching();
  const app = await launch('fastify', { controllers, options: { hooks }, fastify: { http2: true } });
  const connect = async (settings?: Buffer, preface?: string): Promise<RawHttp2> => {
    const client = await RawHttp2.connect(app.port, settings, preface);
    clients.push(client);
    return client;
  };
  return { ...app, feed, opened, closed, connectRaw: connect };
}

/** A session whose first stream is open, and another such session. */
async function startWithNeighbour() {
  const app = await start();
  const session = await openSession(app.port);
  const neighbour = session.get('/feed');
  await neighbour.until('begin;');
  const client = await app.connectRaw();
  client.request(1, '/feed');
  await client.until(1, 'begin;');
  return {
    ...app,
    client,
    /** Asserts that all other streams continue, and that nothing remains of the ended ones. */
    async expectOthers(open?: number) {
      app.feed.next('after;');
      await neighbour.until('after;');
      expect(await session.text('/bytes')).toHaveLength(50_000);
      if (open !== undefined) {
        await eventually(() => app.registry.size === open);
      }
    },
  };
}

const errorCode = ({ type, payload }: Frame): number => payload.readUInt32BE(type === GOAWAY ? 4 : 0);
const send = (type: number, flags: number, stream: number, payload?: Buffer | string) => (client: RawHttp2) =>
  client.send(type, flags, stream, payload);

type Offence = readonly [what: string, offend: (client: RawHttp2) => void, codes: readonly number[]];

/** What ends a connection (RFC 9113 §5.4.1), sent while its first stream is open. */
const CONNECTION_ERRORS: readonly Offence[] = [
  ['HEADERS on stream 0', send(HEADERS, END_HEADERS, 0, block(requestFields('/feed'))), [PROTOCOL_ERROR]],
  ['a request with an even id', (client) => client.request(2, '/feed'), [PROTOCOL_ERROR]],
  ['a PING on a stream', send(PING, 0, 1, Buffer.alloc(8)), [PROTOCOL_ERROR]],
  ['a window update of 0', send(WINDOW_UPDATE, 0, 0, uint32(0)), [PROTOCOL_ERROR]],
  ['a window above 2^31-1', send(WINDOW_UPDATE, 0, 0, uint32(0x7fff_ffff)), [FLOW_CONTROL_ERROR]],
  ['a window update of an idle stream', send(WINDOW_UPDATE, 0, 9, uint32(1)), [PROTOCOL_ERROR]],
  ['SETTINGS on a stream', send(SETTINGS, 0, 1, setting(4, 1)), [PROTOCOL_ERROR]],
  ['SETTINGS with an initial window above 2^31-1', send(SETTINGS, 0, 0, setting(4, 0x8000_0000)), [FLOW_CONTROL_ERROR]],
  ['SETTINGS with a frame size of 1', send(SETTINGS, 0, 0, setting(5, 1)), [PROTOCOL_ERROR]],
  ['RST_STREAM on stream 0', send(RST_STREAM, 0, 0, uint32(CANCEL)), [PROTOCOL_ERROR]],
  ['RST_STREAM of an idle stream', send(RST_STREAM, 0, 9, uint32(CANCEL)), [PROTOCOL_ERROR]],
  [
    'PUSH_PROMISE of a client',
    send(PUSH_PROMISE, END_HEADERS, 1, Buffer.concat([uint32(2), block([['a', 'b']])])),
    [PROTOCOL_ERROR],
  ],
];

/**
 * The same, but Node.js sends GOAWAY, stops reading and leaves the connection open. Its streams end when a heartbeat cannot be sent
 * and no PING is answered.
 */
const FRAMING_ERRORS: readonly Offence[] = [
  ['DATA on stream 0', send(DATA, 0, 0, 'x'), [PROTOCOL_ERROR]],
  ['CONTINUATION without HEADERS', send(CONTINUATION, END_HEADERS, 1, block([['a', 'b']])), [PROTOCOL_ERROR]],
  [
    'DATA in the middle of a field block',
    (client) => {
      client.send(HEADERS, 0, 3, block(requestFields('/feed')));
      client.send(DATA, END_STREAM, 3, 'x');
    },
    [PROTOCOL_ERROR],
  ],
  ['a frame above 16 384 bytes', send(DATA, 0, 1, Buffer.alloc(16_385)), [FRAME_SIZE_ERROR]],
  ['a PING of 7 bytes', send(PING, 0, 0, Buffer.alloc(7)), [FRAME_SIZE_ERROR]],
  ['a window update of 3 bytes', send(WINDOW_UPDATE, 0, 0, Buffer.alloc(3)), [FRAME_SIZE_ERROR]],
  ['SETTINGS of 5 bytes', send(SETTINGS, 0, 0, Buffer.alloc(5)), [FRAME_SIZE_ERROR]],
  ['RST_STREAM of 3 bytes', send(RST_STREAM, 0, 1, Buffer.alloc(3)), [FRAME_SIZE_ERROR]],
  ['an acknowledgement of SETTINGS with a payload', send(SETTINGS, ACK, 0, setting(4, 1)), [FRAME_SIZE_ERROR]],
  [
    'a field block that cannot be decoded',
    send(HEADERS, END_HEADERS | END_STREAM, 3, Buffer.from([0xff, 0xff, 0x7f])),
    [COMPRESSION_ERROR],
  ],
  [
    'padding that is longer than its frame',
    send(DATA, PADDED, 1, Buffer.from([9, 1, 2])),
    [PROTOCOL_ERROR, STREAM_CLOSED],
  ],
];

const malformed = (...fields: Fields) => send(HEADERS, END_HEADERS | END_STREAM, 3, block(fields));
const [method, scheme, authority, path] = requestFields('/feed') as [Fields[0], Fields[0], Fields[0], Fields[0]];
const withField = (name: string, value: string) => malformed(...requestFields('/feed', 'GET', [[name, value]]));

/** What ends one stream (RFC 9113 §5.4.2, §8.1.1): the third, while the first is open. */
const STREAM_ERRORS: readonly (readonly [what: string, offend: (client: RawHttp2) => void])[] = [
  ['a field name in upper case', withField('X-Upper', 'a')],
  ['Connection', withField('connection', 'keep-alive')],
  ['Transfer-Encoding', withField('transfer-encoding', 'chunked')],
  ['Upgrade', withField('upgrade', 'websocket')],
  ['TE that is not "trailers"', withField('te', 'gzip')],
  ['an unknown pseudo-header', malformed(method, scheme, authority, path, [':unknown', 'a'])],
  ['a pseudo-header of responses', malformed(method, scheme, authority, path, [':status', '200'])],
  ['a pseudo-header behind a field', malformed(method, scheme, authority, ['a', 'b'], path)],
  ['no :method', malformed(scheme, authority, path)],
  ['no :scheme', malformed(method, authority, path)],
  ['no :path', malformed(method, scheme, authority)],
  ['an empty :path', malformed(method, scheme, authority, [':path', ''])],
  ['two of :method', malformed(method, method, scheme, authority, path)],
  [
    'a Content-Length that its body does not have',
    (client) => {
      client.send(
        HEADERS,
        END_HEADERS,
        3,
        block(
          requestFields('/posted', 'POST', [
            ['content-length', '5'],
            ['content-type', 'text/plain'],
          ]),
        ),
      );
      client.send(DATA, END_STREAM, 3, 'abc');
    },
  ],
];

describe('HTTP/2 with prior knowledge, while streams are open', () => {
  it.each(CONNECTION_ERRORS)(
    '%s ends the connection and its streams, and other sessions continue',
    async (_what, offend, codes) => {
      const { client, closed, expectOthers } = await startWithNeighbour();

      offend(client);
      const goAway = await client.frameOrClose((frame) => frame.type === GOAWAY && errorCode(frame) !== 0);
      await eventually(() => client.closed);

      // What RFC 9113 calls for, its general form, that of Node.js, or none where the connection is closed at once.
      expect([...codes, PROTOCOL_ERROR, INTERNAL_ERROR, undefined]).toContain(goAway && errorCode(goAway));
      await expectOthers(1);
      expect(closed.seen.filter((code) => code === 'client-closed')).toHaveLength(1);
    },
  );

  it.each(STREAM_ERRORS)(
    'a request with %s ends only its own stream, and no handler is called',
    async (_what, offend) => {
      const { client, opened, feed, expectOthers } = await startWithNeighbour();
      const before = opened.seen.length;

      offend(client);
      const refused = await client.frame(
        ({ type, stream }) => stream === 3 && (type === RST_STREAM || type === HEADERS),
      );
      feed.next('more;');
      await client.until(1, 'more;');
      await client.pinged();

      // A request that the application has been given may also be answered, with an error.
      if (refused.type === RST_STREAM) {
        expect(errorCode(refused)).toBe(PROTOCOL_ERROR);
      }
      expect(client.body(3)).not.toContain('begin;');
      expect(opened.seen.length).toBe(before);
      await expectOthers(2);
    },
  );

  it.each(FRAMING_ERRORS)('%s is refused with GOAWAY, and other sessions continue', async (_what, offend, codes) => {
    const { client, expectOthers } = await startWithNeighbour();

    offend(client);
    const goAway = await client.frameOrClose((frame) => frame.type === GOAWAY && errorCode(frame) !== 0);

    expect([...codes, PROTOCOL_ERROR, INTERNAL_ERROR, undefined]).toContain(goAway && errorCode(goAway));
    await expectOthers();
  });

  it('a session that Node.js neither reads nor closes after that receives a PING, which detects whether its client is alive', async () => {
    const { app, connectRaw } = await start();
    const pings = new Recorder();
    (app.getHttpServer() as Http2Server).on('session', (session) => {
      const { ping } = session;
      session.ping = ((...args: unknown[]) => {
        pings.add('ping');
        return Reflect.apply(ping, session, args);
      }) as typeof ping;
    });
    const client = await connectRaw();
    client.request(1, '/beating');
    // If the client reads heartbeats, no PING is needed.
    await client.frame(() => client.body(1).split(':').length > 5);
    expect(pings.seen).toEqual([]);

    client.send(PING, 0, 0, Buffer.alloc(7));
    await client.frameOrClose(({ type }) => type === GOAWAY);

    await Promise.race([pings.count(1), eventually(() => client.closed)]);
  });

  it('a connection without the preface is closed', async () => {
    const { connectRaw, expectOthers } = await startWithNeighbour();

    const client = await connectRaw(undefined, 'PRI * HTTP/1.9\r\n\r\nXX\r\n\r\n');
    await eventually(() => client.closed);

    await expectOthers(2);
  });

  it('RST_STREAM ends the stream at once, and no frame of that stream follows', async () => {
    const { client, closed, feed, expectOthers } = await startWithNeighbour();
    client.request(3, '/feed');
    await client.until(3, 'begin;');

    client.send(RST_STREAM, 0, 1, uint32(CANCEL));
    expect(await closed.count(1)).toEqual(['client-closed']);
    feed.next('more;');
    await client.until(3, 'more;');
    await client.pinged();

    expect(client.body(1)).toBe('begin;');
    await expectOthers(2);
  });

  it('after GOAWAY of a client its open streams continue, and the session ends with them', async () => {
    const { client, closed, feed } = await startWithNeighbour();

    client.send(GOAWAY, 0, 0, Buffer.concat([uint32(0), uint32(0)]));
    await client.pinged().catch(() => undefined);
    feed.next('more;');
    await client.until(1, 'more;');
    client.send(RST_STREAM, 0, 1, uint32(CANCEL));

    expect(await closed.count(1)).toEqual(['client-closed']);
  });

  it('PING is answered while a stream waits for its window', async () => {
    const { connectRaw } = await start();
    const client = await connectRaw(setting(4, 0));

    client.request(1, '/bytes');
    await client.frame(({ type, stream }) => type === HEADERS && stream === 1);
    await client.pinged();

    expect(client.body(1)).toBe('');
  });
});

describe('HTTP/2 flow control of a stream', () => {
  it('sends no more bytes than the window allows', async () => {
    const { connectRaw, registry } = await start();
    const client = await connectRaw(setting(4, 0));

    client.request(1, '/bytes');
    await client.frame(({ type, stream }) => type === HEADERS && stream === 1);
    for (const size of [1, 2, 1_000]) {
      const before = client.body(1).length;
      client.send(WINDOW_UPDATE, 0, 1, uint32(size));
      await client.frame(() => client.body(1).length >= before + size);
      await client.pinged();
      expect(client.body(1).length).toBe(before + size);
    }
    client.send(WINDOW_UPDATE, 0, 1, uint32(100_000));
    await client.frame(({ type, flags, stream }) => type === DATA && stream === 1 && (flags & END_STREAM) > 0);

    expect(client.body(1)).toBe('x'.repeat(50_000));
    await eventually(() => registry.size === 0);
  });

  it('accepts a window that becomes negative, and continues when the window is positive again', async () => {
    const { connectRaw } = await start();
    const client = await connectRaw(setting(4, 10));

    client.request(1, '/bytes');
    await client.frame(() => client.body(1).length === 10);
    client.send(SETTINGS, 0, 0, setting(4, 0));
    client.send(WINDOW_UPDATE, 0, 1, uint32(10));
    await client.pinged();
    expect(client.body(1)).toHaveLength(10);
    client.send(WINDOW_UPDATE, 0, 1, uint32(5));
    await client.frame(() => client.body(1).length === 15);
    await client.pinged();

    expect(client.body(1)).toHaveLength(15);
  });

  it('sends no frame above the maximum size of the client, and sends other streams while one waits', async () => {
    const { connectRaw } = await start();
    const client = await connectRaw(setting(4, 0));
    client.request(1, '/bytes');
    client.request(3, '/bytes');
    client.send(WINDOW_UPDATE, 0, 3, uint32(60_000));
    await client.frame(({ type, flags, stream }) => type === DATA && stream === 3 && (flags & END_STREAM) > 0);

    expect(client.body(1)).toBe('');
    expect(client.body(3)).toHaveLength(50_000);
    expect(Math.max(...client.frames.seen.map(({ payload }) => payload.length))).toBeLessThanOrEqual(16_384);
  });

  it('refuses a window above 2^31-1, and ends only that stream', async () => {
    const { client, expectOthers } = await startWithNeighbour();

    client.send(WINDOW_UPDATE, 0, 1, uint32(0x7fff_ffff));
    const reset = await client.frame(({ type }) => type === RST_STREAM || type === GOAWAY);

    expect(errorCode(reset)).toBe(FLOW_CONTROL_ERROR);
    await expectOthers(1);
  });
});

describe('HTTP/2 requests in unusual but valid frames', () => {
  const VALID: readonly (readonly [string, (client: RawHttp2) => void])[] = [
    [
      'a field block in three frames',
      (client) => {
        const bytes = block(requestFields('/bytes'));
        client.send(HEADERS, END_STREAM, 1, bytes.subarray(0, 5));
        client.send(CONTINUATION, 0, 1, bytes.subarray(5, 20));
        client.send(CONTINUATION, END_HEADERS, 1, bytes.subarray(20));
      },
    ],
    [
      'padding',
      (client) =>
        client.send(
          HEADERS,
          END_HEADERS | END_STREAM | PADDED,
          1,
          Buffer.concat([Buffer.from([4]), block(requestFields('/bytes')), Buffer.alloc(4)]),
        ),
    ],
    [
      'a priority before and behind it',
      (client) => {
        client.send(PRIORITY, 0, 1, Buffer.concat([uint32(0), Buffer.from([7])]));
        client.request(1, '/bytes');
        client.send(PRIORITY, 0, 1, Buffer.concat([uint32(0), Buffer.from([9])]));
      },
    ],
    [
      'frames and settings of unknown types around it',
      (client) => {
        client.send(0x77, 0xff, 0, Buffer.from('what is this'));
        client.send(SETTINGS, 0, 0, setting(0x77, 1));
        client.request(1, '/bytes');
        client.send(0x77, 0xff, 1, Buffer.from('and this'));
      },
    ],
  ];

  it.each(VALID)('%s: the stream is sent completely', async (_what, request) => {
    const { connectRaw, registry } = await start();
    const client = await connectRaw();

    request(client);
    await client.frame(({ type, flags, stream }) => type === DATA && stream === 1 && (flags & END_STREAM) > 0);

    expect(client.body(1)).toHaveLength(50_000);
    await eventually(() => registry.size === 0);
  });

  it('trailers after the body of a request do not prevent its stream', async () => {
    const { connectRaw } = await start();
    const client = await connectRaw();

    const fields = requestFields('/posted', 'POST', [['content-type', 'application/json']]);
    client.send(HEADERS, END_HEADERS, 1, block(fields));
    client.send(DATA, 0, 1, '{"a":1}');
    client.send(HEADERS, END_HEADERS | END_STREAM, 1, block([['x-trailer', 'a']]));
    await client.frame(({ type, flags, stream }) => type === DATA && stream === 1 && (flags & END_STREAM) > 0);

    expect(client.body(1)).toBe('posted');
  });
});
