import { AsyncLocalStorage } from 'node:async_hooks';
import type { INestApplication } from '@nestjs/common';
import type { StreamHooks } from '../../../lib/index.js';
import { DRIVERS } from '../../support/drivers/index.js';
import { deferred, Recorder } from '../../support/events.js';
import { turns } from '../../support/running.js';
import { expectEnd, useFeeds } from '../../support/transports.js';

const NEVER = new Promise<never>(() => undefined);

/** Hooks that record their calls. */
function recordingHooks(name: string, seen: Recorder): StreamHooks {
  return {
    onOpen: () => seen.add(`${name} onOpen`),
    beforeChunk(chunk) {
      seen.add(`${name} beforeChunk`);
      return chunk;
    },
    beforeClose: () => seen.add(`${name} beforeClose`),
    onError: () => seen.add(`${name} onError`),
    onClose: (_stream, { code }) => seen.add(`${name} onClose ${code}`),
  };
}

describe.each(DRIVERS)('$name: hooks', (driver) => {
  const start = useFeeds();
  const both = (...hooks: string[]): string[] => hooks.flatMap((hook) => [`application ${hook}`, `connection ${hook}`]);

  it('run in order, each once, around a stream that ends cleanly', async () => {
    const seen = new Recorder();
    const { open } = await start(driver, {
      options: { hooks: recordingHooks('application', seen) },
      feed({ stream }) {
        stream.hooks(recordingHooks('connection', seen));
        return ['x'];
      },
    });
    const client = open();

    await expectEnd(driver, client, 'completed');
    await seen.count(8);
    await turns();

    expect(client.records).toEqual(['x']);
    expect(seen.seen).toEqual(both('onOpen', 'beforeChunk', 'beforeClose', 'onClose completed'));
  });

  it('run in order, each once, around a stream that fails', async () => {
    const seen = new Recorder();
    const { open } = await start(driver, {
      options: { hooks: recordingHooks('application', seen) },
      async *feed({ stream }) {
        stream.hooks(recordingHooks('connection', seen));
        yield 'x';
        throw new Error('broken');
      },
    });
    const client = open();

    await expectEnd(driver, client, 'error');
    await seen.count(8);
    await turns();

    expect(seen.seen).toEqual(both('onOpen', 'beforeChunk', 'onError', 'onClose error'));
  });

  it('run in order, each once, around a stream whose client disconnects', async () => {
    const seen = new Recorder();
    const { open } = await start(driver, {
      options: { hooks: recordingHooks('application', seen) },
      async *feed({ stream }) {
        stream.hooks(recordingHooks('connection', seen));
        yield 'x';
        await NEVER;
      },
    });
    const client = open();
    await client.until(1);

    client.leave();
    await seen.count(6);
    await turns();

    expect(seen.seen).toEqual(both('onOpen', 'beforeChunk', 'onClose client-closed'));
  });

  it('of a stream that fails before the first byte are only onError and onClose', async () => {
    const seen = new Recorder();
    const { open } = await start(driver, {
      options: { hooks: recordingHooks('application', seen) },
      feed() {
        throw new Error('broken');
      },
    });

    expect((await open().refused()).status).toBe(500);
    await seen.count(2);
    await turns();

    expect(seen.seen).toEqual(['application onError', 'application onClose error']);
  });

  const CHUNKS: [string, (chunk: unknown) => unknown, unknown[]][] = [
    ['another chunk', (chunk) => Number(chunk) * 10, [10, 20, 30]],
    ['several', (chunk) => [chunk, 'and'], [1, 'and', 2, 'and', 3, 'and']],
    ['nothing', (chunk) => (chunk === 2 ? undefined : chunk), [1, 3]],
    ['a promise', (chunk) => turns(4 - Number(chunk)).then(() => chunk), [1, 2, 3]],
  ];

  it.each(CHUNKS)('include beforeChunk, which may return %s', async (_, beforeChunk, records) => {
    const { open } = await start(driver, { options: { hooks: { beforeChunk } }, feed: () => [1, 2, 3] });
    const client = open();

    await expectEnd(driver, client, 'completed');

    expect(client.records).toEqual(records);
  });

  it('include onOpen, which may send the first chunk, and beforeClose, which may send the last', async () => {
    const { open } = await start(driver, {
      feed({ stream }) {
        stream.hooks({
          async onOpen() {
            await turns();
            await stream.send('first');
          },
          async beforeClose() {
            await turns();
            await stream.send('last');
          },
        });
        return ['x'];
      },
    });
    const client = open();

    await expectEnd(driver, client, 'completed');

    expect(client.records).toEqual(['first', 'x', 'last']);
  });

  it('include onError, which may return a last chunk that is sent before the error record', async () => {
    const { open } = await start(driver, {
      options: { hooks: { onError: async () => ({ last: 'words' }) } },
      async *feed() {
        yield 1;
        throw new Error('broken');
      },
    });
    const client = open();

    await expectEnd(driver, client, 'error');

    expect(client.records).toEqual([
      1,
      { last: 'words' },
      { error: { statusCode: 500, message: 'Internal server error' } },
    ]);
  });

  const THROWING = (['onOpen', 'beforeChunk', 'beforeClose'] as const).flatMap((name) =>
    (['sync', 'async'] as const).map((kind) => ({ name, kind })),
  );

  it.each(THROWING)(
    'include a $kind $name that throws, which makes only its own stream fail',
    async ({ name, kind }) => {
      const seen = new Recorder();
      const gate = deferred();
      const error = new Error(`${name} threw`);
      const throwing: StreamHooks = {
        [name]: () => {
          if (kind === 'sync') {
            throw error;
          }
          return turns(2).then(() => Promise.reject(error));
        },
      };
      const { open, text } = await start(driver, {
        async *feed({ stream, name: which }) {
          if (which === 'other') {
            yield 1;
            await gate.promise;
            yield 2;
            return;
          }
          stream.hooks({ onClose: (_stream, reason) => seen.add(`${reason.code} ${String(reason.error)}`) });
          stream.hooks(throwing);
          yield 'x';
        },
      });
      const other = open('/feed/other');
      await other.until(1);
      const client = open();

      await client.ended();
      const { status } = await client.answered();

      // An error before the first byte still has a status.
      if (status === 500) {
        expect(client.records).toEqual([]);
      } else {
        await expectEnd(driver, client, 'error');
      }
      expect(await seen.count(1)).toEqual([`error Error: ${name} threw`]);
      gate.resolve();
      await expectEnd(driver, other, 'completed');
      expect(other.records).toEqual([1, 2]);
      expect(await text('/plain')).toBe('fine');
      expect(seen.seen).toHaveLength(1);
    },
  );

  it('include an onClose that throws, whose error is logged, and the following hooks run', async () => {
    const seen = new Recorder();
    const { open, logs } = await start(driver, {
      options: {
        hooks: {
          onClose() {
            throw new Error('onClose threw');
          },
        },
      },
      feed({ stream }) {
        stream.hooks({ onClose: (_stream, { code }) => seen.add(code) });
        return ['x'];
      },
    });
    const client = open();

    await expectEnd(driver, client, 'completed');

    expect(await seen.count(1)).toEqual(['completed']);
    expect(logs.of('error').join()).toContain('onClose threw');
  });

  it('run in the AsyncLocalStorage context of their request, as every pull and finally does', async () => {
    const als = new AsyncLocalStorage<string>();
    const seen = new Recorder();
    const note = (what: string): void => seen.add(`${what}: ${als.getStore()}`);
    const { open } = await start(driver, {
      configure(app: INestApplication) {
        app.use((request: { headers: Record<string, string> }, _response: unknown, next: () => void) =>
          als.run(request.headers['x-who'] ?? 'nobody', next),
        );
      },
      options: {
        hooks: {
          onOpen: () => note('onOpen'),
          beforeChunk(chunk) {
            note('beforeChunk');
            return chunk;
          },
          onClose: () => note('onClose'),
        },
      },
      async *feed() {
        try {
          note('pull');
          yield 1;
          await turns(2);
          note('pull');
          yield 2;
          note('pull');
          await NEVER;
        } finally {
          note('finally');
        }
      },
      route: { flush: 'each' },
    });
    const client = open('/feed', { 'x-who': 'ann' });
    await client.until(2);
    await seen.count(6);

    client.leave();
    await seen.count(7);

    expect(seen.seen).toEqual(
      ['pull', 'onOpen', 'beforeChunk', 'pull', 'beforeChunk', 'pull', 'onClose'].map((what) => `${what}: ann`),
    );
  });

  it('leave a finally in that context too', async () => {
    const als = new AsyncLocalStorage<string>();
    const seen = new Recorder<string | undefined>();
    const { open } = await start(driver, {
      configure(app: INestApplication) {
        app.use((_request: unknown, _response: unknown, next: () => void) => als.run('ann', next));
      },
      *feed() {
        try {
          for (let i = 0; ; i++) {
            yield i;
          }
        } finally {
          seen.add(als.getStore());
        }
      },
    });
    const client = open();
    await client.until(1);

    client.leave();

    expect(await seen.count(1)).toEqual(['ann']);
  });
});
