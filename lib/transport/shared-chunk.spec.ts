import { SharedChunk } from './shared-chunk.js';

describe('A shared chunk', () => {
  it.each<[string, string | Uint8Array, string]>([
    ['text', 'abc', '3\r\nabc\r\n'],
    ['bytes', Uint8Array.of(97, 98), '2\r\nab\r\n'],
    ['text that is more bytes than characters', 'ü😀', '6\r\nü😀\r\n'],
    ['16 bytes', 'x'.repeat(16), `10\r\n${'x'.repeat(16)}\r\n`],
    ['70 000 bytes', 'x'.repeat(70_000), `11170\r\n${'x'.repeat(70_000)}\r\n`],
    ['line ends', 'a\r\n\r\nb', '6\r\na\r\n\r\nb\r\n'],
  ])('is framed for the chunked coding: %s', (_, data, framed) => {
    const chunk = new SharedChunk(data);

    expect(chunk.chunked.toString()).toBe(framed);
    expect(chunk.bytes).toEqual(Buffer.from(data as string));
  });

  it('holds its data once', () => {
    const { bytes, chunked } = new SharedChunk('abc');

    expect(bytes.buffer).toBe(chunked.buffer);
  });

  it('keeps its own copy of bytes, because their owner may reuse the buffer', () => {
    const data = Uint8Array.of(97, 98);
    const chunk = new SharedChunk(data);
    data.fill(120);

    expect(chunk.chunked.toString()).toBe('2\r\nab\r\n');
  });

  it('is not part of a pooled buffer, so it keeps no other memory alive', () => {
    const { chunked } = new SharedChunk('abc');

    expect(chunked.buffer.byteLength).toBe(chunked.length);
  });
});
