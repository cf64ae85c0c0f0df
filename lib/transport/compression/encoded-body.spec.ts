import { once } from 'node:events';
import { brotliDecompressSync, constants, gunzipSync } from 'node:zlib';
import type { Transport, TransportListener } from '../transport.js';
import { EncodedBody } from './encoded-body.js';
import type { Encoder } from './encoders.js';

/** A body whose client takes what a test lets it take. */
function setup(coding: 'gzip' | 'br' = 'gzip') {
  const written: Uint8Array[] = [];
  const seen: string[] = [];
  const client = { takes: true, throws: false };
  const transport = {
    write: (data: Uint8Array) => {
      if (client.throws) {
        throw new Error('no head');
      }
      written.push(data);
      return client.takes;
    },
    end: (data: undefined, why: string) => seen.push(`end ${data} ${why}`),
    truncate: (data: undefined) => seen.push(`truncate ${data}`),
  } as unknown as Transport;
  const listener = {
    onDrain: () => seen.push('drain'),
    fail: (error: Error) => seen.push(`fail ${error.message}`),
  } as unknown as TransportListener;
  const body = new EncodedBody(coding, transport, listener);
  const { encoder } = body as unknown as { readonly encoder: Encoder };
  return { body, client, encoder, seen, bytes: () => Buffer.concat(written) };
}

describe('A body with an encoder of its own', () => {
  it.each(['gzip', 'br'] as const)('can be decompressed after every write, before the next one: %s', async (coding) => {
    const { body, bytes, encoder } = setup(coding);
    const decode = coding === 'gzip' ? gunzipSync : brotliDecompressSync;
    const finishFlush = coding === 'gzip' ? constants.Z_SYNC_FLUSH : constants.BROTLI_OPERATION_FLUSH;

    body.write('one ');
    await once(encoder, 'data');
    expect(decode(bytes(), { finishFlush }).toString()).toBe('one ');
    body.end('two', 'completed');
    await once(encoder, 'end');

    expect(decode(bytes()).toString()).toBe('one two');
  });

  it('ends its transport after the last bytes', async () => {
    const { body, encoder, seen } = setup();

    body.end('all', 'completed');
    await once(encoder, 'close');

    expect(seen).toEqual(['end undefined completed']);
    expect(encoder.destroyed).toBe(true);
  });

  it('has room when both the encoder and the transport have', async () => {
    const { body, client, encoder, seen } = setup();
    client.takes = false;

    expect(body.write('x'.repeat(20_000))).toBe(false);
    await once(encoder, 'drain');
    expect(seen).toEqual([]);
    expect(body.write('more')).toBe(false);
    client.takes = true;
    body.onDrain();

    expect(seen).toEqual(['drain']);
    expect(body.write('again')).toBe(true);
  });

  it('counts the bytes that the encoder holds', async () => {
    const { body, encoder } = setup();

    body.write('x'.repeat(10_000));
    expect(body.bufferedAmount).toBe(10_000);
    await once(encoder, 'data');

    body.end(undefined, 'completed');
    await once(encoder, 'end');
    expect(body.bufferedAmount).toBe(0);
  });

  it('that is truncated writes all its data, and no trailer', async () => {
    const { body, bytes, encoder, seen } = setup();

    body.write('one ');
    body.truncate('two');
    await once(encoder, 'close');

    expect(seen.filter((each) => each !== 'drain')).toEqual(['truncate undefined']);
    expect(gunzipSync(bytes(), { finishFlush: constants.Z_SYNC_FLUSH }).toString()).toBe('one two');
    expect(() => gunzipSync(bytes())).toThrow('unexpected end of file');
  });

  it('that is truncated waits for a client that does not read', async () => {
    const { body, client, encoder, seen } = setup();
    client.takes = false;
    body.write('one');
    await once(encoder, 'data');

    body.truncate('two');
    await new Promise((resolve) => encoder.flush(() => resolve(undefined)));
    expect(seen).toEqual([]);
    client.takes = true;
    body.onDrain();
    await once(encoder, 'close');

    expect(seen).toContain('truncate undefined');
  });

  it('releases its encoder at once when its client has disconnected, and writes nothing more', async () => {
    const { body, bytes, encoder, seen } = setup();

    body.write('one');
    body.release();
    body.write('two');
    await once(encoder, 'close');

    expect(encoder.destroyed).toBe(true);
    expect(bytes()).toHaveLength(0);
    expect(seen).toEqual([]);
  });

  it('whose encoder fails makes the stream fail, and is cut off without further bytes', async () => {
    const { body, encoder, seen } = setup();

    encoder.destroy(new Error('broken'));
    await new Promise((resolve) => encoder.once('close', () => resolve(undefined)));
    body.truncate('the record of the error');

    expect(seen).toEqual(['fail broken', 'truncate undefined']);
  });

  it('whose transport throws makes the stream fail, and writes nothing more', async () => {
    const { body, bytes, client, encoder, seen } = setup();
    client.throws = true;

    body.write('one');
    await once(encoder, 'close');
    client.throws = false;
    body.truncate('the record of the error');

    expect(seen).toEqual(['fail no head', 'truncate undefined']);
    expect(bytes()).toHaveLength(0);
  });
});
