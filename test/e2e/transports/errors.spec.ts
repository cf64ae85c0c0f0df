import { randomBytes } from 'node:crypto';
import { BadRequestException, HttpException, type INestApplication, NotFoundException } from '@nestjs/common';
import { Subject, throwError } from 'rxjs';
import { type StreamConnection, StreamStateError } from '../../../lib/index.js';
import { DRIVERS } from '../../support/drivers/index.js';
import { deferred, Recorder } from '../../support/events.js';
import { turns } from '../../support/running.js';
import { type Call, eventually, expectEnd, useFeeds } from '../../support/transports.js';

import.meta.jest.setTimeout(60_000);

const NEVER = new Promise<never>(() => undefined);
const gone = (): HttpException => new NotFoundException('no such feed');

describe.each(DRIVERS)('$name: an error before the first byte', (driver) => {
  const start = useFeeds();

  const CASES: [string, (call: Call) => unknown][] = [
    [
      'by the handler',
      () => {
        throw gone();
      },
    ],
    ['by an async handler', () => turns().then(() => Promise.reject(gone()))],
    [
      'by a sync generator',
      // biome-ignore lint/correctness/useYield: it never gets that far
      function* () {
        throw gone();
      },
    ],
    [
      'by an async generator, after a wait',
      // biome-ignore lint/correctness/useYield: it never gets that far
      async function* () {
        await turns();
        throw gone();
      },
    ],
    ['by an Observable', () => throwError(gone)],
    [
      'by an Observable, after a wait',
      () => {
        const subject = new Subject();
        setImmediate(() => subject.error(gone()));
        return subject;
      },
    ],
    [
      'by a handler that has set another status',
      ({ stream }) => {
        stream.status(200).header('X-Was', 'set');
        throw gone();
      },
    ],
  ];

  it.each(CASES)('%s goes to the exception filters, and the client receives its status', async (_, feed) => {
    const { open, registry, logs } = await start(driver, { feed });

    const { status, body } = await open().refused();

    expect(status).toBe(404);
    expect(body).toEqual({ message: 'no such feed', error: 'Not Found', statusCode: 404 });
    expect(registry.size).toBe(0);
    expect(logs.of('error')).toEqual([]);
  });

  it('by a guard that refuses causes a 403, and the handler is not called', async () => {
    let called = 0;
    const { open } = await start(driver, { guard: async () => false, feed: () => called++ });

    const { status, body } = await open().refused();

    expect(status).toBe(403);
    expect(body).toMatchObject({ statusCode: 403 });
    expect(called).toBe(0);
  });

  it('has its status at any time with openDelay: first-chunk', async () => {
    const opened = deferred();
    const { open } = await start(driver, {
      route: { openDelay: 'first-chunk' },
      async *feed({ name, stream }) {
        if (name === 'other') {
          stream.open();
          await NEVER;
        }
        await opened.promise;
        throw gone();
        // biome-ignore lint/correctness/noUnreachable: what makes it a stream of something
        yield 'never';
      },
    });
    const client = open();
    await open('/feed/other').answered();
    opened.resolve();

    expect((await client.refused()).status).toBe(404);
  });
});

describe.each(DRIVERS)('$name: an error after the first byte', (driver) => {
  const start = useFeeds();

  const ERRORS: [string, () => unknown, object][] = [
    ['an Error', () => new Error('the secret'), { statusCode: 500, message: 'Internal server error' }],
    ['nothing', () => undefined, { statusCode: 500, message: 'Internal server error' }],
    ['an HttpException', () => new HttpException('said so', 402), { statusCode: 402, message: 'said so' }],
    [
      'an HttpException with details',
      () => new BadRequestException(['a is wrong', 'b is wrong']),
      { statusCode: 400, message: ['a is wrong', 'b is wrong'], error: 'Bad Request' },
    ],
  ];

  it.each(ERRORS)('%s is logged and sent as a record, and the body is cut off', async (_, error, described) => {
    const ids: string[] = [];
    const { open, logs } = await start(driver, {
      async *feed({ stream }) {
        ids.push(stream.id);
        yield 1;
        await turns();
        throw error();
      },
    });
    const client = open();

    await expectEnd(driver, client, error() instanceof HttpException ? 'exception' : 'error');

    expect((await client.answered()).status).toBe(driver.accepted(200));
    expect(client.records).toEqual([1, { error: described }]);
    expect(logs.of('error')).toHaveLength(1);
    expect(logs.of('error')[0]).toContain(`Feed.feed (stream ${ids[0]})`);
  });

  it('also occurs for a chunk that cannot be encoded', async () => {
    const { open } = await start(driver, {
      async *feed() {
        yield 1;
        await turns();
        yield 1n;
      },
    });
    const client = open();

    await expectEnd(driver, client, 'error');

    expect(client.records).toEqual([1, { error: { statusCode: 500, message: 'Internal server error' } }]);
  });

  it('also occurs for a promise of a chunk that rejects', async () => {
    const { open } = await start(driver, {
      async *feed({ stream }) {
        void stream.send(Promise.resolve(1));
        await turns();
        await stream.send(Promise.reject(new HttpException('said so', 500)));
        yield 2;
      },
    });
    const client = open();

    await expectEnd(driver, client, 'error');

    expect(client.records).toEqual([1, { error: { statusCode: 500, message: 'said so' } }]);
  });

  it('while its client reads nothing is reported after the waiting chunks', async () => {
    // It cannot be compressed: data that a client does not read has to wait on the server.
    const large = randomBytes(375_000).toString('base64');
    const seen = new Recorder();
    const { open } = await start(driver, {
      *feed({ stream }) {
        stream.hooks({ onError: () => seen.add('failed') });
        yield 1;
        for (let i = 0; i < 20; i++) {
          yield large;
        }
        throw new HttpException('said so', 402);
      },
    });
    const client = open();
    await client.until(1);
    client.stall();
    await turns();
    client.resume();

    await expectEnd(driver, client, 'exception');

    expect(client.records).toHaveLength(22);
    expect(client.records.at(-1)).toEqual({ error: { statusCode: 402, message: 'said so' } });
    expect(seen.seen).toEqual(['failed']);
  });

  it('does not affect the server and other streams', async () => {
    const gate = deferred();
    const { open, text } = await start(driver, {
      async *feed({ name }) {
        yield 1;
        if (name === 'failing') {
          throw new Error('broken');
        }
        await gate.promise;
        yield 2;
      },
    });
    const other = open();
    await other.until(1);

    await expectEnd(driver, open('/feed/failing'), 'error');
    gate.resolve();
    await expectEnd(driver, other, 'completed');

    expect(other.records).toEqual([1, 2]);
    expect(await text('/plain')).toBe('fine');
  });
});

describe.each(DRIVERS)('$name: the status and headers', (driver) => {
  const start = useFeeds();

  it('may be set until the stream has opened, also after a wait', async () => {
    const { open } = await start(driver, {
      async *feed({ stream }) {
        await turns();
        stream.status(202).header('X-Tail', 'on').header('Set-Cookie', 'a=1').header('Set-Cookie', 'b=2');
        yield 1;
      },
    });
    const client = open();

    const { status, headers } = await client.answered();

    expect(status).toBe(driver.accepted(202));
    expect(headers['x-tail']).toBe('on');
    expect(headers['set-cookie']).toEqual(['a=1', 'b=2']);
    await expectEnd(driver, client, 'completed');
  });

  it('cannot be set afterwards, which throws a StreamStateError', async () => {
    const thrown: unknown[] = [];
    const attempt = (run: () => unknown): void => {
      try {
        run();
      } catch (error) {
        thrown.push(error);
      }
    };
    const streams: StreamConnection[] = [];
    const { open } = await start(driver, {
      feed({ stream }) {
        streams.push(stream);
        void stream.send(1);
      },
    });
    const client = open();
    await client.until(1);
    const [stream] = streams;

    attempt(() => stream?.status(404));
    attempt(() => stream?.header('X-Late', 'yes'));
    attempt(() => stream?.open());
    await stream?.close();

    expect(thrown).toEqual(Array(3).fill(expect.any(StreamStateError)));
    await expectEnd(driver, client, 'completed');
    expect((await client.answered()).headers['x-late']).toBeUndefined();
  });

  it.each([
    ['by stream.open()', { openDelay: 'first-chunk' } as const, (call: Call) => void call.stream.open()],
    ['after openDelay', { openDelay: 20 }, () => undefined],
    ['at once with openDelay: 0', { openDelay: 0 }, () => undefined],
  ])('of a stream that is silent are sent %s', async (_, route, feed) => {
    const { open, registry } = await start(driver, { route, feed });
    const client = open();

    expect((await client.answered()).status).toBe(driver.accepted(200));

    expect([...registry].map(({ state }) => state)).toEqual(['open']);
    expect(client.records).toEqual([]);
  });

  it('that middleware has set are kept', async () => {
    const { open, registry } = await start(driver, {
      configure(app: INestApplication) {
        app.use((_request: unknown, response: { setHeader(name: string, value: string): void }, next: () => void) => {
          response.setHeader('Access-Control-Allow-Origin', 'https://example.org');
          response.setHeader('Set-Cookie', 'session=1');
          next();
        });
      },
      feed: () => [1],
    });
    const client = open();

    const { headers } = await client.answered();

    expect(headers['access-control-allow-origin']).toBe('https://example.org');
    expect(headers['set-cookie']).toEqual(['session=1']);
    await expectEnd(driver, client, 'completed');
    await eventually(() => registry.size === 0);
  });
});
