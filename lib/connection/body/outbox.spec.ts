import { type DirectTotals, SharedChunk } from '../../transport/shared-chunk.js';
import type { Transport } from '../../transport/transport.js';
import type { FlushPolicy } from '../../util/flush-policy.js';
import { BYTES_COST, TEXT_COST } from '../../util/queue-limits.js';
import type { BodySettings } from './body-settings.js';
import { Outbox } from './outbox.js';

/** A client that takes what it is given, as long as `takes` says so. */
function setup(flush: FlushPolicy = 'auto') {
  const client = { taken: [] as string[], takes: true, failures: [] as unknown[] };
  const transport = {
    write(data: string | Uint8Array) {
      client.taken.push(Buffer.from(data as Uint8Array).toString());
      return client.takes;
    },
    writeShared: ({ bytes }) => transport.write(bytes),
  } as Transport;
  let time = 0;
  const registry = { clock: { now: () => ++time } };
  const owner = {
    transport,
    settings: { flush, services: { registry } } as unknown as BodySettings,
    lifecycle: { headPending: false },
    fail: (error: unknown) => client.failures.push(error),
  };
  const outbox = new Outbox(owner);
  return { outbox, client, owner };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));
const KIB_16 = 'x'.repeat(16_384);

describe('An outbox', () => {
  it('gathers the chunks of one turn into one write at the end of the turn', async () => {
    const { outbox, client } = setup();

    outbox.add('a');
    outbox.add(Buffer.from('b'));
    await Promise.resolve();
    outbox.add('c');
    expect(client.taken).toEqual([]);
    expect(outbox.size).toBe(3);
    await turn();
    await turn();

    expect(client.taken).toEqual(['abc']);
    expect(outbox.empty).toBe(true);
  });

  it('writes as soon as 16 KiB are gathered', () => {
    const { outbox, client } = setup();

    outbox.add('a');
    outbox.add(KIB_16);

    expect(client.taken).toEqual([`a${KIB_16}`]);
  });

  it('with flush: each writes each chunk separately', () => {
    const { outbox, client } = setup('each');

    outbox.add('a');
    outbox.add(Buffer.from('b'));

    expect(client.taken).toEqual(['a', 'b']);
  });

  it('writes as soon as the number of bytes of its flush policy is gathered', () => {
    const { outbox, client } = setup({ bytes: 3, ms: 60_000 });

    for (const chunk of ['a', 'b', 'cd', 'e']) {
      outbox.add(chunk);
    }

    expect(client.taken).toEqual(['abcd']);
  });

  it('with leading: true writes a chunk at the end of its turn, and gathers those that follow within ms', async () => {
    const { outbox, client } = setup({ bytes: 5, ms: 60_000, leading: true });

    outbox.add('a');
    outbox.add('b');
    expect(client.taken).toEqual([]);
    await turn();
    await turn();
    expect(client.taken).toEqual(['ab']);
    outbox.add('cd');
    await turn();
    await turn();
    expect(client.taken).toEqual(['ab']);
    outbox.add('efg');

    expect(client.taken).toEqual(['ab', 'cdefg']);
  });

  it('with leading: true writes the gathered chunks after ms, and a chunk after a pause at the end of its turn', async () => {
    const { outbox, client } = setup({ bytes: 100, ms: 10, leading: true });
    const written = async (count: number) => {
      while (client.taken.length < count) {
        await turn();
      }
    };

    outbox.add('a');
    await written(1);
    outbox.add('b');
    outbox.add('c');
    await written(2);
    const pause = performance.now() + 20;
    while (performance.now() < pause) {
      await turn();
    }
    outbox.add('d');
    await turn();
    await turn();

    expect(client.taken).toEqual(['a', 'bc', 'd']);
  });

  it('queues chunks while the client does not read, and sends them in order when it reads again', () => {
    const { outbox, client } = setup('each');
    client.takes = false;
    outbox.add('a');
    outbox.add('b');
    outbox.add(Buffer.from('ü'));
    outbox.add('d');

    expect(outbox.blocked).toBe(true);
    expect(client.taken).toEqual(['a']);
    expect([outbox.queuedItems, outbox.queuedBytes]).toEqual([3, 4]);
    client.takes = true;
    outbox.onDrain();

    expect(client.taken.join('')).toBe('abüd');
    expect(outbox.blocked).toBe(false);
    expect([outbox.queuedItems, outbox.queuedBytes, outbox.size]).toEqual([0, 0, 0]);
  });

  it('counts the memory that its queue takes in addition to the bytes of its chunks', () => {
    const { outbox, client } = setup('each');
    client.takes = false;
    outbox.add('sent');

    outbox.add('a');
    expect(outbox.queuedCost).toBe(1 + TEXT_COST);
    outbox.add(Buffer.from('bc'));
    expect(outbox.queuedCost).toBe(3 + TEXT_COST + BYTES_COST);
    outbox.dropOldest();
    expect(outbox.queuedCost).toBe(2 + BYTES_COST);
    client.takes = true;
    outbox.onDrain();
    expect(outbox.queuedCost).toBe(0);
  });

  it('continues to queue chunks when a drain was not enough', () => {
    const { outbox, client } = setup();
    client.takes = false;
    outbox.add(KIB_16);
    outbox.add(KIB_16);
    outbox.add(KIB_16);

    outbox.onDrain();

    expect(client.taken).toHaveLength(2);
    expect(outbox.blocked).toBe(true);
    expect(outbox.queuedItems).toBe(1);
  });

  it('writes nothing while the head is pending, even if it is flushed or drained', async () => {
    const { outbox, client, owner } = setup();
    outbox.add('a');
    owner.lifecycle.headPending = true;

    outbox.add('b');
    outbox.flush();
    outbox.onDrain();
    await turn();
    await turn();
    expect(client.taken).toEqual([]);
    owner.lifecycle.headPending = false;
    outbox.onDrain();

    expect(client.taken).toEqual(['ab']);
  });

  it('writes a large chunk in slices, no faster than the client reads them', () => {
    const { outbox, client } = setup();
    const large = Array.from({ length: 200_000 }, (_, i) => String(i % 10)).join('');
    client.takes = false;
    outbox.add(large);
    outbox.add('end');

    expect(client.taken.map(({ length }) => length)).toEqual([65_536]);
    expect(outbox.queuedBytes).toBe(200_000 - 65_536 + 3);
    outbox.onDrain();
    expect(client.taken).toHaveLength(2);
    client.takes = true;
    outbox.onDrain();

    expect(client.taken.join('') === `${large}end`).toBe(true);
  });

  it('drops the oldest chunk of which nothing has been sent', () => {
    const { outbox, client } = setup();
    client.takes = false;
    outbox.add('x'.repeat(70_000));
    outbox.add('oldest');
    outbox.add('newest');

    expect(outbox.dropOldest()).toBe(true);
    expect(outbox.dropOldest()).toBe(true);
    expect(outbox.dropOldest()).toBe(false);
    expect(outbox.queuedBytes).toBe(70_000 - 65_536);
    client.takes = true;
    outbox.onDrain();

    expect(client.taken.join('')).toBe('x'.repeat(70_000));
  });

  it('knows when the client last read something', () => {
    const { outbox } = setup('each');
    const before = outbox.progressAt;

    outbox.add('a');
    const written = outbox.progressAt;
    outbox.onDrain();

    expect(written).toBeGreaterThan(before);
    expect(outbox.progressAt).toBeGreaterThan(written);
  });

  it('sends small binary chunks as they were when they were written, even if they change later', () => {
    const { outbox, client } = setup();
    const chunk = Buffer.from('first');
    outbox.add(chunk);
    chunk.fill('!');

    outbox.flush();

    expect(client.taken).toEqual(['first']);
  });

  it('drops all chunks when it is cleared', async () => {
    const { outbox, client } = setup();
    outbox.add('a');

    outbox.clear();
    await turn();
    await turn();

    expect(client.taken).toEqual([]);
    expect(outbox.empty).toBe(true);
  });
});

describe('An outbox whose source writes to the socket directly', () => {
  /** A source that has written some bytes, and stops when the outbox says so. */
  function direct() {
    const { outbox, client, owner } = setup();
    const source = {
      sent: { chunks: 3, bytes: 100, at: 0 } as DirectTotals,
      ended: 0,
      endDirect() {
        source.ended++;
        outbox.endDirect(source.sent);
      },
    };
    Object.assign(owner, { reader: source });
    outbox.add('before');
    outbox.flush();
    outbox.beginDirect(source.sent);
    return { outbox, client, source };
  }

  it('counts what the source writes from then on, and when it did', () => {
    const { outbox, source } = direct();
    expect(outbox.bytes).toBe(6);

    source.sent = { chunks: 4, bytes: 130, at: 1_000 };
    expect([outbox.bytes, outbox.progressAt]).toEqual([36, 1_000]);

    outbox.endDirect(source.sent);
    source.sent = { chunks: 9, bytes: 999, at: 9_999 };
    expect([outbox.bytes, outbox.progressAt]).toEqual([36, 1_000]);
  });

  it.each<[string, (outbox: Outbox) => void]>([
    ['a chunk', (outbox) => outbox.add('x')],
    ['a chunk that many connections share', (outbox) => outbox.share(new SharedChunk('x'))],
    ['a pause', (outbox) => outbox.pause()],
  ])('makes the source stop before %s, once', (_what, act) => {
    const { outbox, source } = direct();
    source.sent = { chunks: 4, bytes: 130, at: 0 };

    act(outbox);
    act(outbox);

    expect(source.ended).toBe(1);
    outbox.flush();
    expect(outbox.bytes).toBeGreaterThanOrEqual(36);
  });

  it('allows that only while nothing waits and nothing holds chunks back', () => {
    const { outbox, client } = setup();
    expect(outbox.allowsDirect).toBe(true);

    outbox.add('x');
    expect(outbox.allowsDirect).toBe(false);
    client.takes = false;
    outbox.flush();
    expect(outbox.allowsDirect).toBe(false);
    outbox.onDrain();
    expect(outbox.allowsDirect).toBe(true);
    outbox.pause();
    expect(outbox.allowsDirect).toBe(false);
    outbox.resume();
    outbox.declared = 10;
    expect(outbox.allowsDirect).toBe(false);
  });
});
