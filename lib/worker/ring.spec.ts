import fc from 'fast-check';
import { FrameKind, RingReader, RingWriter, ringMemory } from './ring.js';

type Chunk = string | Uint8Array | null;

const CAPACITY = 256;
const MOST = CAPACITY / 2 - 4;

/** Chunks that fit into the ring. `null` is a frame for a message. */
const chunk: fc.Arbitrary<Chunk> = fc.oneof(
  fc.constant(null),
  fc.string({ unit: 'binary-ascii', maxLength: MOST / 2 }),
  fc.string({ unit: 'grapheme', maxLength: 20 }).filter((text) => Buffer.byteLength(text) <= MOST),
  // Halves of surrogate pairs.
  fc.array(fc.integer({ min: 0xd7f0, max: 0xe010 }), { maxLength: 15 }).map((codes) => String.fromCharCode(...codes)),
  fc.uint8Array({ maxLength: MOST }),
);

function ring(capacity = CAPACITY) {
  const memory = ringMemory(capacity);
  const rooms = { count: 0 };
  const writer = new RingWriter(memory);
  const reader = new RingReader(memory, () => {
    rooms.count++;
  });
  return { memory, writer, reader, rooms };
}

const write = (writer: RingWriter, each: Chunk) => (each === null ? writer.writeMessage() : writer.write(each));

function read(reader: RingReader): Chunk | undefined {
  const kind = reader.next();
  if (kind === FrameKind.none) {
    return undefined;
  }
  return kind === FrameKind.message ? null : reader.chunk;
}

/** A form in which a Buffer equals the Uint8Array that it is a copy of. */
const comparable = (each: Chunk | undefined) => (each instanceof Uint8Array ? [...each] : each);

describe('a ring', () => {
  it('returns what was written, in its order, however writes and reads are interleaved', () => {
    fc.assert(
      fc.property(fc.array(chunk, { maxLength: 200 }), fc.infiniteStream(fc.boolean()), (chunks, turns) => {
        const { writer, reader } = ring();
        const got: unknown[] = [];
        let written = 0;
        while (got.length < chunks.length) {
          const mayWrite = written < chunks.length && turns.next().value;
          if (mayWrite && write(writer, chunks[written] as Chunk)) {
            written++;
          } else {
            const next = read(reader);
            if (next !== undefined) {
              got.push(comparable(next));
            }
          }
        }

        expect(got).toEqual(chunks.map(comparable));
        expect(read(reader)).toBeUndefined();
      }),
    );
  });

  it('is full at some time, and then empty again, with chunks of any size', () => {
    fc.assert(
      fc.property(chunk, fc.nat({ max: 64 }), (each, before) => {
        const { writer, reader } = ring();
        // Moves the positions, so that frames begin anywhere.
        for (let n = 0; n < before; n++) {
          writer.writeMessage();
          read(reader);
        }
        // The reader reports what it has read when it finds the ring empty.
        expect(read(reader)).toBeUndefined();
        let written = 0;
        while (write(writer, each)) {
          written++;
        }
        expect(written).toBeGreaterThan(0);
        const got = Array.from({ length: written }, () => comparable(read(reader)));
        expect(got).toEqual(Array.from({ length: written }, () => comparable(each)));
        expect(read(reader)).toBeUndefined();
        expect(write(writer, each)).toBe(true);
      }),
    );
  });

  it('accepts exactly the chunks that fit into half of it', () => {
    const { writer } = ring();

    expect(writer.accepts(new Uint8Array(MOST))).toBe(true);
    expect(writer.accepts(new Uint8Array(MOST + 1))).toBe(false);
    expect(writer.accepts('a'.repeat(MOST / 2))).toBe(true);
    expect(writer.accepts('€'.repeat(MOST / 2))).toBe(false);
  });

  it('asks to be woken only when the reader found it empty, and once', () => {
    const { writer, reader } = ring();
    writer.write('one');
    expect(writer.takeListening()).toBe(false);
    read(reader);
    expect(read(reader)).toBeUndefined();

    writer.write('two');

    expect(writer.takeListening()).toBe(true);
    expect(writer.takeListening()).toBe(false);
  });

  it('reports room when half of it is free', () => {
    const { writer, reader, rooms } = ring();
    while (writer.write('0123456789')) {
      // Until it is full.
    }
    const full = rooms.count;
    while (read(reader) !== undefined) {
      // Until it is empty.
    }

    expect(full).toBe(0);
    expect(rooms.count).toBeGreaterThan(0);
  });

  it('works on when its positions wrap around', () => {
    const { memory, writer, reader } = ring();
    // Eight bytes before the largest number of a word.
    const near = 2 ** 31 - 8;
    new Int32Array(memory, 0, 2).fill(near);
    Object.assign(writer, { written: near, read: near });
    Object.assign(reader, { written: near, read: near, reported: near });

    for (let n = 0; n < 100; n++) {
      expect(writer.write(`chunk ${n}`)).toBe(true);
      expect(read(reader)).toBe(`chunk ${n}`);
    }
  });

  it('gives byte arrays memory of their own', () => {
    const { writer, reader } = ring();
    writer.write(Uint8Array.of(1, 2, 3));
    const first = read(reader);

    for (let n = 0; n < 100; n++) {
      writer.write(Uint8Array.of(9, 9, 9));
      read(reader);
    }

    expect(comparable(first)).toEqual([1, 2, 3]);
  });
});
