import { Readable } from 'node:stream';
import { Observable } from 'rxjs';
import {
  abortable,
  StreamCloseError,
  type StreamConnection,
  type StreamHooks,
  StreamStateError,
} from '../../../lib/index.js';
import { DRIVERS } from '../../support/drivers/index.js';
import { type Deferred, deferred, Recorder } from '../../support/events.js';
import { quiet, turns } from '../../support/running.js';
import { atGone, type Call, eventually, noise, useFeeds } from '../../support/transports.js';

import.meta.jest.setTimeout(30_000);

const NEVER = new Promise<never>(() => undefined);
const KIB_64 = noise(65_536);

/** What a route reports, in order. */
class Witness extends Recorder {
  readonly hooks: StreamHooks = { onClose: (_stream, reason) => this.add(`onClose ${reason.code}`) };

  on(signal: AbortSignal): void {
    signal.addEventListener('abort', () => {
      const { reason } = signal;
      this.add(`aborted ${reason instanceof StreamCloseError ? reason.code : String(reason)}`);
    });
  }
}

/** An async iterator whose chunks the test gives. */
class ManualSource implements AsyncIterableIterator<unknown> {
  readonly pulls: Deferred<IteratorResult<unknown>>[] = [];

  constructor(private readonly witness: Witness) {}

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<unknown>> {
    const pull = deferred<IteratorResult<unknown>>();
    this.pulls.push(pull);
    this.witness.add('pull');
    return pull.promise;
  }

  return(): Promise<IteratorResult<unknown>> {
    this.witness.add('return');
    return Promise.resolve({ done: true, value: undefined });
  }
}

describe.each(DRIVERS)('$name: a client that disconnects', (driver) => {
  const start = useFeeds();

  it('is noticed in the turn in which its socket closes by the signal, the source, the hooks and the registry', async () => {
    const witness = new Witness();
    const source = new ManualSource(witness);
    const streams: StreamConnection[] = [];
    const { open, peers, registry } = await start(driver, {
      feed({ stream, signal }) {
        witness.on(signal);
        streams.push(stream.hooks(witness.hooks));
        return source;
      },
    });
    const client = open();
    await witness.count(1);
    source.pulls[0]?.resolve({ done: false, value: 1 });
    await client.until(1);

    const inThatTurn = atGone(peers[0], () => ({
      state: streams[0]?.state,
      open: registry.size,
      seen: [...witness.seen],
    }));
    client.leave();

    expect(await inThatTurn).toEqual({
      state: 'closed',
      open: 0,
      seen: ['pull', 'pull', 'aborted client-closed', 'return', 'onClose client-closed'],
    });
    source.pulls[1]?.resolve({ done: false, value: 'too late' });
    await turns();
    expect(witness.seen).toHaveLength(5);
  });

  const SOURCES: [string, (witness: Witness) => unknown][] = [
    [
      'an Observable is unsubscribed from',
      (witness) =>
        new Observable((subscriber) => {
          subscriber.next('x');
          return () => witness.add('stopped');
        }),
    ],
    [
      'a Readable is destroyed',
      (witness) => {
        const readable = new Readable({ objectMode: true, read: () => undefined });
        readable.push('x');
        return readable.on('close', () => witness.add('stopped'));
      },
    ],
    [
      'a web stream is cancelled',
      (witness) =>
        new ReadableStream({
          start: (controller) => controller.enqueue('x'),
          cancel: () => witness.add('stopped'),
        }),
    ],
  ];

  it.each(SOURCES)('%s, once', async (_, source) => {
    const witness = new Witness();
    const { open, peers } = await start(driver, {
      feed({ stream }) {
        stream.hooks(witness.hooks);
        return source(witness);
      },
    });
    const client = open();
    await client.until(1);

    const inThatTurn = atGone(peers[0], () => [...witness.seen].sort());
    client.leave();

    expect(await inThatTurn).toEqual(['onClose client-closed', 'stopped']);
    await turns();
    expect(witness.seen).toHaveLength(2);
  });

  it('during a guard causes a call neither of the handler nor of a hook', async () => {
    const witness = new Witness();
    const gate = deferred();
    const { open, peers, text, registry } = await start(driver, {
      options: { hooks: witness.hooks },
      async guard() {
        witness.add('guard');
        await gate.promise;
        witness.add('passed');
        return true;
      },
      feed() {
        witness.add('handler');
        return ['x'];
      },
    });
    const client = open();
    await witness.count(1);

    const gone = atGone(peers[0], () => undefined);
    client.leave();
    await gone;
    gate.resolve();
    await witness.count(2);
    expect(await text('/plain')).toBe('fine');
    await turns();

    expect(witness.seen).toEqual(['guard', 'passed']);
    expect(registry.size).toBe(0);
  });

  it('during an await of the handler aborts its signal at once, and the result is never read', async () => {
    const witness = new Witness();
    const gate = deferred();
    const readable = new Readable({ read: () => void witness.add('read') });
    readable.on('close', () => witness.add('destroyed'));
    const { open, peers, registry } = await start(driver, {
      async feed({ stream, signal }) {
        stream.hooks(witness.hooks);
        witness.on(signal);
        witness.add('handler');
        await gate.promise;
        return readable;
      },
    });
    const client = open();
    await witness.count(1);

    const inThatTurn = atGone(peers[0], () => [...witness.seen]);
    client.leave();

    expect(await inThatTurn).toEqual(['handler', 'aborted client-closed', 'onClose client-closed']);
    gate.resolve();
    expect((await witness.count(4)).slice(3)).toEqual(['destroyed']);
    expect(registry.size).toBe(0);
  });

  it('while its generator is stuck in an await ends the stream at once, and the finally of the generator runs when the await resolves', async () => {
    const witness = new Witness();
    const work = deferred();
    const { open, peers, registry } = await start(driver, {
      async *feed({ stream }) {
        stream.hooks(witness.hooks);
        try {
          yield 'x';
          await work.promise;
          witness.add('woke');
          yield 'y';
          witness.add('went on');
        } finally {
          witness.add('finally');
        }
      },
    });
    const client = open();
    await client.until(1);

    const inThatTurn = atGone(peers[0], () => ({ seen: [...witness.seen], open: registry.size }));
    client.leave();

    expect(await inThatTurn).toEqual({ seen: ['onClose client-closed'], open: 0 });
    work.resolve();
    expect(await witness.count(3)).toEqual(['onClose client-closed', 'woke', 'finally']);
  });

  it('while its generator waits for an abortable promise ends that wait, and the finally of the generator runs', async () => {
    const witness = new Witness();
    const { open, logs } = await start(driver, {
      async *feed({ signal }) {
        try {
          yield 'x';
          await abortable(NEVER, signal);
        } catch (error) {
          witness.add(`threw ${error instanceof StreamCloseError ? error.code : String(error)}`);
          throw error;
        } finally {
          witness.add('finally');
        }
      },
    });
    const client = open();
    await client.until(1);

    client.leave();

    expect(await witness.count(2)).toEqual(['threw client-closed', 'finally']);
    await turns();
    expect(logs.of('error')).toEqual([]);
  });

  it('while a write is pending causes one call of return() of the generator', async () => {
    const witness = new Witness();
    let pulled = 0;
    const { open, peers } = await start(driver, {
      *feed({ stream }) {
        stream.hooks(witness.hooks);
        try {
          for (;;) {
            pulled++;
            yield KIB_64;
          }
        } finally {
          witness.add('finally');
        }
      },
    });
    const client = open();
    await client.until(1);
    client.stall();
    await quiet(() => pulled);

    const inThatTurn = atGone(peers[0], () => [...witness.seen]);
    client.leave();

    expect(await inThatTurn).toEqual(['finally', 'onClose client-closed']);
    await turns();
    expect(witness.seen).toHaveLength(2);
  });

  it('while a send waits for drain rejects the send', async () => {
    const witness = new Witness();
    let sends = 0;
    const push = async (stream: StreamConnection): Promise<void> => {
      try {
        for (;;) {
          sends++;
          await stream.send(KIB_64);
        }
      } catch (error) {
        witness.add(`rejected ${error instanceof StreamCloseError ? error.code : String(error)}`);
      }
    };
    const { open, peers } = await start(driver, {
      feed({ stream }) {
        void push(stream.hooks(witness.hooks));
      },
    });
    const client = open();
    await client.until(1);
    client.stall();
    await quiet(() => sends);

    const inThatTurn = atGone(peers[0], () => [...witness.seen]);
    client.leave();

    expect(await inThatTurn).toEqual(['onClose client-closed', 'rejected client-closed']);
  });

  it.each(['after the stream was over', 'while the send waits for drain'])(
    'ends a handler that sends in a loop, without an error in the log: %s',
    async (when) => {
      const drains = when.endsWith('drain');
      const finished = new Recorder<unknown>();
      const gate = deferred();
      const closed = new Recorder();
      let sends = 0;
      const sending = async ({ stream }: Call): Promise<void> => {
        await stream.send(1);
        if (!drains) {
          await gate.promise;
        }
        for (;;) {
          sends++;
          await stream.send(KIB_64);
        }
      };
      const { open, logs } = await start(driver, {
        feed: (call) => {
          call.stream.hooks({ onClose: (_stream, { code }) => closed.add(code) });
          const loop = sending(call);
          loop.catch(finished.add);
          return loop;
        },
      });
      const client = open();
      await client.until(1);
      if (drains) {
        client.stall();
        await quiet(() => sends);
      }
      client.leave();
      await closed.count(1);
      gate.resolve();

      const [error] = await finished.count(1);
      expect(error).toBeInstanceOf(drains ? StreamCloseError : StreamStateError);
      await turns();
      expect(logs.of('error')).toEqual([]);
    },
  );

  it('during a slow beforeClose closes the stream at once, and later calls of send() reject', async () => {
    const witness = new Witness();
    const gate = deferred();
    const { open, peers, logs } = await start(driver, {
      feed({ stream, signal }) {
        witness.on(signal);
        stream.hooks({
          async beforeClose() {
            witness.add('beforeClose');
            await gate.promise;
            await stream.send('late').catch((error: Error) => witness.add(error.name));
          },
        });
        stream.hooks(witness.hooks);
        return ['x'];
      },
    });
    const client = open();
    await witness.count(1);

    const inThatTurn = atGone(peers[0], () => [...witness.seen]);
    client.leave();

    expect(await inThatTurn).toEqual(['beforeClose', 'aborted client-closed', 'onClose client-closed']);
    gate.resolve();
    expect((await witness.count(4)).slice(3)).toEqual(['StreamStateError']);
    await turns();
    expect(logs.of('error')).toEqual([]);
  });

  it('does not affect the streams of others', async () => {
    const gate = deferred();
    const { open, registry } = await start(driver, {
      async *feed() {
        yield 1;
        await gate.promise;
        yield 2;
      },
    });
    const [first, second] = [open(), open()];
    await Promise.all([first.until(1), second.until(1)]);

    first.leave();
    await eventually(() => registry.size === 1);
    gate.resolve();

    expect(await second.until(2)).toEqual([1, 2]);
    expect(driver.endings.completed).toContain(await second.ended());
  });
});
