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
import { turns, untilStable } from '../../support/running.js';
import { atDisconnect, type Call, eventually, noise, useFeeds } from '../../support/transports.js';

import.meta.jest.setTimeout(60_000);

const NEVER = new Promise<never>(() => undefined);
const KIB_64 = noise(65_536);

/** Records the calls of a route, in order. */
class CallRecorder extends Recorder {
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

  constructor(private readonly calls: CallRecorder) {}

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<unknown>> {
    const pull = deferred<IteratorResult<unknown>>();
    this.pulls.push(pull);
    this.calls.add('pull');
    return pull.promise;
  }

  return(): Promise<IteratorResult<unknown>> {
    this.calls.add('return');
    return Promise.resolve({ done: true, value: undefined });
  }
}

describe.each(DRIVERS)('$name: a client that disconnects', (driver) => {
  const start = useFeeds();

  it('is noticed in the turn in which its socket closes by the signal, the source, the hooks and the registry', async () => {
    const calls = new CallRecorder();
    const source = new ManualSource(calls);
    const streams: StreamConnection[] = [];
    const { open, peers, registry } = await start(driver, {
      feed({ stream, signal }) {
        calls.on(signal);
        streams.push(stream.hooks(calls.hooks));
        return source;
      },
    });
    const client = open();
    await calls.count(1);
    source.pulls[0]?.resolve({ done: false, value: 1 });
    await client.until(1);

    const inThatTurn = atDisconnect(peers[0], () => ({
      state: streams[0]?.state,
      open: registry.size,
      seen: [...calls.seen],
    }));
    client.leave();

    expect(await inThatTurn).toEqual({
      state: 'closed',
      open: 0,
      seen: ['pull', 'pull', 'aborted client-closed', 'return', 'onClose client-closed'],
    });
    source.pulls[1]?.resolve({ done: false, value: 'too late' });
    await turns();
    expect(calls.seen).toHaveLength(5);
  });

  const SOURCES: [string, (calls: CallRecorder) => unknown][] = [
    [
      'an Observable is unsubscribed from',
      (calls) =>
        new Observable((subscriber) => {
          subscriber.next('x');
          return () => calls.add('stopped');
        }),
    ],
    [
      'a Readable is destroyed',
      (calls) => {
        const readable = new Readable({ objectMode: true, read: () => undefined });
        readable.push('x');
        return readable.on('close', () => calls.add('stopped'));
      },
    ],
    [
      'a web stream is cancelled',
      (calls) =>
        new ReadableStream({
          start: (controller) => controller.enqueue('x'),
          cancel: () => calls.add('stopped'),
        }),
    ],
  ];

  it.each(SOURCES)('%s, once', async (_, source) => {
    const calls = new CallRecorder();
    const { open, peers } = await start(driver, {
      feed({ stream }) {
        stream.hooks(calls.hooks);
        return source(calls);
      },
    });
    const client = open();
    await client.until(1);

    const inThatTurn = atDisconnect(peers[0], () => [...calls.seen].sort());
    client.leave();

    expect(await inThatTurn).toEqual(['onClose client-closed', 'stopped']);
    await turns();
    expect(calls.seen).toHaveLength(2);
  });

  it('during a guard causes a call neither of the handler nor of a hook', async () => {
    const calls = new CallRecorder();
    const gate = deferred();
    const { open, peers, text, registry } = await start(driver, {
      options: { hooks: calls.hooks },
      async guard() {
        calls.add('guard');
        await gate.promise;
        calls.add('passed');
        return true;
      },
      feed() {
        calls.add('handler');
        return ['x'];
      },
    });
    const client = open();
    await calls.count(1);

    const gone = atDisconnect(peers[0], () => undefined);
    client.leave();
    await gone;
    gate.resolve();
    await calls.count(2);
    expect(await text('/plain')).toBe('fine');
    await turns();

    expect(calls.seen).toEqual(['guard', 'passed']);
    expect(registry.size).toBe(0);
  });

  it('during an await of the handler aborts its signal at once, and the result is never read', async () => {
    const calls = new CallRecorder();
    const gate = deferred();
    const readable = new Readable({ read: () => void calls.add('read') });
    readable.on('close', () => calls.add('destroyed'));
    const { open, peers, registry } = await start(driver, {
      async feed({ stream, signal }) {
        stream.hooks(calls.hooks);
        calls.on(signal);
        calls.add('handler');
        await gate.promise;
        return readable;
      },
    });
    const client = open();
    await calls.count(1);

    const inThatTurn = atDisconnect(peers[0], () => [...calls.seen]);
    client.leave();

    expect(await inThatTurn).toEqual(['handler', 'aborted client-closed', 'onClose client-closed']);
    gate.resolve();
    expect((await calls.count(4)).slice(3)).toEqual(['destroyed']);
    expect(registry.size).toBe(0);
  });

  it('while its generator is stuck in an await ends the stream at once, and the finally of the generator runs when the await resolves', async () => {
    const calls = new CallRecorder();
    const work = deferred();
    const { open, peers, registry } = await start(driver, {
      async *feed({ stream }) {
        stream.hooks(calls.hooks);
        try {
          yield 'x';
          await work.promise;
          calls.add('woke');
          yield 'y';
          calls.add('went on');
        } finally {
          calls.add('finally');
        }
      },
    });
    const client = open();
    await client.until(1);

    const inThatTurn = atDisconnect(peers[0], () => ({ seen: [...calls.seen], open: registry.size }));
    client.leave();

    expect(await inThatTurn).toEqual({ seen: ['onClose client-closed'], open: 0 });
    work.resolve();
    expect(await calls.count(3)).toEqual(['onClose client-closed', 'woke', 'finally']);
  });

  it('while its generator waits for an abortable promise ends that wait, and the finally of the generator runs', async () => {
    const calls = new CallRecorder();
    const { open, logs } = await start(driver, {
      async *feed({ signal }) {
        try {
          yield 'x';
          await abortable(NEVER, signal);
        } catch (error) {
          calls.add(`threw ${error instanceof StreamCloseError ? error.code : String(error)}`);
          throw error;
        } finally {
          calls.add('finally');
        }
      },
    });
    const client = open();
    await client.until(1);

    client.leave();

    expect(await calls.count(2)).toEqual(['threw client-closed', 'finally']);
    await turns();
    expect(logs.of('error')).toEqual([]);
  });

  it('while a write is pending causes one call of return() of the generator', async () => {
    const calls = new CallRecorder();
    let pulled = 0;
    const { open, peers } = await start(driver, {
      *feed({ stream }) {
        stream.hooks(calls.hooks);
        try {
          for (;;) {
            pulled++;
            yield KIB_64;
          }
        } finally {
          calls.add('finally');
        }
      },
    });
    const client = open();
    await client.until(1);
    client.stall();
    await untilStable(() => pulled);

    const inThatTurn = atDisconnect(peers[0], () => [...calls.seen]);
    client.leave();

    expect(await inThatTurn).toEqual(['finally', 'onClose client-closed']);
    await turns();
    expect(calls.seen).toHaveLength(2);
  });

  it('while a send waits for drain rejects the send', async () => {
    const calls = new CallRecorder();
    let sends = 0;
    const push = async (stream: StreamConnection): Promise<void> => {
      try {
        for (;;) {
          sends++;
          await stream.send(KIB_64);
        }
      } catch (error) {
        calls.add(`rejected ${error instanceof StreamCloseError ? error.code : String(error)}`);
      }
    };
    const { open, peers } = await start(driver, {
      feed({ stream }) {
        void push(stream.hooks(calls.hooks));
      },
    });
    const client = open();
    await client.until(1);
    client.stall();
    await untilStable(() => sends);

    const inThatTurn = atDisconnect(peers[0], () => [...calls.seen]);
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
        await untilStable(() => sends);
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
    const calls = new CallRecorder();
    const gate = deferred();
    const { open, peers, logs } = await start(driver, {
      feed({ stream, signal }) {
        calls.on(signal);
        stream.hooks({
          async beforeClose() {
            calls.add('beforeClose');
            await gate.promise;
            await stream.send('late').catch((error: Error) => calls.add(error.name));
          },
        });
        stream.hooks(calls.hooks);
        return ['x'];
      },
    });
    const client = open();
    await calls.count(1);

    const inThatTurn = atDisconnect(peers[0], () => [...calls.seen]);
    client.leave();

    expect(await inThatTurn).toEqual(['beforeClose', 'aborted client-closed', 'onClose client-closed']);
    gate.resolve();
    expect((await calls.count(4)).slice(3)).toEqual(['StreamStateError']);
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
