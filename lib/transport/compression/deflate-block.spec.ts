import { constants, crc32, gunzipSync, inflateRawSync } from 'node:zlib';
import fc from 'fast-check';
import { SharedChunk } from '../shared-chunk.js';
import type { Transport, TransportListener } from '../transport.js';
import { blockOf, DeflateBlock, ownBlockOf } from './deflate-block.js';
import { GzipBlocks } from './gzip-blocks.js';

function inflated(blocks: readonly DeflateBlock[]): string {
  const bytes = Buffer.concat(blocks.map(({ encoded }) => encoded.bytes));
  return inflateRawSync(bytes, { finishFlush: constants.Z_SYNC_FLUSH }).toString();
}

/** A gzip body, and what reached its transport of it. */
function setup() {
  const written: Uint8Array[] = [];
  const sink = (how: string) => (data?: string | Uint8Array) => {
    written.push(Buffer.from(data as Uint8Array));
    calls.push(how);
    return true;
  };
  const calls: string[] = [];
  const transport = {
    write: sink('write'),
    writeShared: ({ bytes }: SharedChunk) => sink('shared')(bytes),
    end: sink('end'),
    truncate: sink('truncate'),
  } as unknown as Transport;
  const body = new GzipBlocks(transport, {} as TransportListener);
  return { body, calls, bytes: () => Buffer.concat(written) };
}

describe('A deflate block', () => {
  it('knows the checksum and the size of its data', () => {
    const block = new DeflateBlock('grüße');

    expect(block.crc).toBe(crc32('grüße'));
    expect(block.size).toBe(7);
    expect(inflated([block])).toBe('grüße');
  });

  it('does not refer to earlier blocks, so it can follow any block, also itself', () => {
    const [a, b] = [new DeflateBlock('the same words'), new DeflateBlock('the same words, twice')];

    expect(inflated([b, a, a, b])).toBe('the same words, twicethe same wordsthe same wordsthe same words, twice');
  });

  it('is created once for a shared chunk, and framed for the chunked coding', () => {
    const chunk = new SharedChunk('shared');
    const block = blockOf(chunk);

    expect(blockOf(chunk)).toBe(block);
    const { bytes, chunked } = block.encoded;
    expect(chunked.toString('latin1')).toBe(`${bytes.length.toString(16)}\r\n${bytes.toString('latin1')}\r\n`);
  });

  it('of a short text is created once for all bodies that contain the text', () => {
    expect(ownBlockOf(':\n\n')).toBe(ownBlockOf(':\n\n'));
  });

  it('of bytes is created each time, because the bytes may have changed', () => {
    const bytes = Buffer.from('one');
    const first = ownBlockOf(bytes);
    bytes.write('two');

    expect(inflated([first, ownBlockOf(bytes)])).toBe('onetwo');
  });

  it('of a short text is not kept forever', () => {
    const first = ownBlockOf('text 0');
    for (let i = 1; i <= 200; i++) {
      ownBlockOf(`text ${i}`);
    }

    expect(ownBlockOf('text 0')).not.toBe(first);
  });
});

describe('A gzip body of blocks', () => {
  it('has a header, the blocks and a trailer', () => {
    const { body, bytes, calls } = setup();

    body.write('first ');
    body.writeShared(new SharedChunk('second '));
    body.end('last', 'completed');

    expect(bytes().subarray(0, 10).toString('hex')).toBe('1f8b08000000000000ff');
    expect(gunzipSync(bytes()).toString()).toBe('first second last');
    expect(calls).toEqual(['write', 'shared', 'end']);
  });

  it('that is empty is valid', () => {
    const { body, bytes } = setup();

    body.end(undefined, 'completed');

    expect(bytes().toString('hex')).toBe('1f8b08000000000000ff03000000000000000000');
    expect(gunzipSync(bytes()).toString()).toBe('');
  });

  it('that is truncated can be decompressed up to that point, and is incomplete', () => {
    const { body, bytes } = setup();

    body.write('first ');
    body.truncate('last');

    expect(gunzipSync(bytes(), { finishFlush: constants.Z_SYNC_FLUSH }).toString()).toBe('first last');
    expect(() => gunzipSync(bytes())).toThrow('unexpected end of file');
  });

  it('can be decompressed whatever it contains', () => {
    const piece = fc.record({
      data: fc.string({ minLength: 1, maxLength: 200, unit: 'binary' }),
      shared: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 20 }), fc.string({ maxLength: 50 }), (pieces, last) => {
        const { body, bytes } = setup();
        let expected = '';
        for (const { data, shared } of pieces) {
          expected += data;
          shared ? body.writeShared(new SharedChunk(data)) : body.write(data);
          // Each prefix can be read as soon as it is there.
          expect(gunzipSync(bytes(), { finishFlush: constants.Z_SYNC_FLUSH }).toString()).toBe(
            Buffer.from(expected).toString(),
          );
        }
        body.end(last, 'completed');
        expect(gunzipSync(bytes()).toString()).toBe(Buffer.from(expected + last).toString());
      }),
      { numRuns: 50 },
    );
  });
});
