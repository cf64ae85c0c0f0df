import { chooseFormat } from '../../format/negotiate.js';
import { sseFormat } from '../../format/sse.format.js';
import { SharedChunk } from '../../transport/shared-chunk.js';
import type { Transport } from '../../transport/transport.js';
import type { FlushPolicy } from '../../util/flush-policy.js';
import { Body } from './body.js';
import type { BodySettings } from './body-settings.js';

const OWNER = { lifecycle: { headPending: false }, fail: () => undefined };

const KIB = 1_024;

/** A client of which a test sees every write: whether it went past the response, and how large it was. */
function setup(flush: FlushPolicy = 'auto') {
  const client = { writes: [] as string[], received: '', takes: true };
  const write =
    (how: string) =>
    (bytes: string | Uint8Array): boolean => {
      client.writes.push(`${how} ${bytes.length}`);
      client.received += Buffer.from(bytes as Uint8Array).toString('latin1');
      return client.takes;
    };
  const transport = {
    write: write('sliced'),
    writeShared: ({ bytes }: SharedChunk) => write('shared')(bytes),
    hasBody: true,
  } as unknown as Transport;
  let now = 0;
  const registry = { clock: { now: () => now } };
  const settings = { flush, route: 'Feed.prices', services: { registry } } as unknown as BodySettings;
  const body = new Body({ transport, settings, ...OWNER }, chooseFormat(sseFormat));
  const later = (): void => {
    now += 1_000;
  };
  return { body, client, later };
}

/** A chunk whose bytes tell where they belong. */
function chunk(size: number): SharedChunk {
  return new SharedChunk(Buffer.from(Array.from({ length: size }, (_, i) => 32 + ((i >> 8) % 90))));
}

describe('A shared chunk', () => {
  it.each([
    [1, ['shared 1']],
    [64 * KIB, [`shared ${64 * KIB}`]],
    [128 * KIB, [`shared ${128 * KIB}`]],
    [128 * KIB + 1, [`shared ${64 * KIB}`, `shared ${64 * KIB}`, 'shared 1']],
    [200 * KIB, [...Array(3).fill(`shared ${64 * KIB}`), `shared ${8 * KIB}`]],
  ])('of %i bytes is written whole if it is small, and in slices otherwise', (size, writes) => {
    const { body, client } = setup();

    expect(body.share(chunk(size))).toBe(true);

    expect(client.writes).toEqual(writes);
    expect(client.received).toBe(chunk(size).bytes.toString('latin1'));
    expect(body.empty).toBe(true);
  });

  it('that is large renews the send timeout with every slice that the client reads', () => {
    const { body, client, later } = setup();
    const large = chunk(300 * KIB);
    client.takes = false;

    expect(body.share(large)).toBe(false);
    const seen = [body.progressAt];
    while (!body.empty) {
      later();
      body.onDrain();
      seen.push(body.progressAt);
    }

    expect(seen).toEqual([0, 1_000, 2_000, 3_000, 4_000]);
    expect(client.received).toBe(large.bytes.toString('latin1'));
  });

  it('that follows a chunk that is half sent is written after that chunk', () => {
    const { body, client } = setup();
    client.takes = false;

    body.share(chunk(130 * KIB));
    body.share(new SharedChunk('behind'));
    expect(client.writes).toEqual([`shared ${64 * KIB}`]);
    client.takes = true;
    body.onDrain();
    body.share(new SharedChunk('last'));

    expect(client.received).toBe(`${chunk(130 * KIB).bytes.toString('latin1')}behindlast`);
  });
});

describe('A body', () => {
  it.each<[FlushPolicy, boolean]>([
    ['auto', true],
    ['each', false],
    [{ bytes: 100, ms: 10 }, false],
  ])('with flush: %j can share chunks with others: %p', (flush, shareable) => {
    const { body } = setup(flush);

    body.open();

    expect(body.shareable).toBe(shareable);
  });
});
