import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { gunzipSync } from 'node:zlib';
import { Controller, Get, Header, Query } from '@nestjs/common';
import compression from 'compression';
import {
  ConnectedStream,
  defineFormat,
  Stream,
  type StreamCloseReason,
  type StreamConnection,
  type StreamingModuleOptions,
} from '../../lib/index.js';
import { PLATFORMS } from '../support/app.js';
import { controllerOf } from '../support/controller.js';
import { CODINGS, DecodingClient } from '../support/decoding-client.js';
import { type Deferred, deferred, Recorder } from '../support/events.js';
import { untilStable, useApps } from '../support/running.js';
import { itWith } from '../support/tools.js';

const launch = useApps();
const ALL: StreamingModuleOptions = { compression: { encodings: ['zstd', 'br', 'gzip'] } };
/** More than any window that is used here, so a repetition does not compress. */
const NOISE = randomBytes(16 * 16_384);
const LINE = 'a line of some words that is said again and again\n';

/** A format with truncate: false. */
const FINAL_ERROR_FORMAT = defineFormat({
  name: 'final-error',
  mediaTypes: ['application/x-final-error'],
  truncate: false,
  encode: (value) => `${JSON.stringify(value)}\n`,
  error: ({ statusCode }) => `failed ${statusCode}\n`,
});

/** Streams whose pace a test sets. */
function streams() {
  const steps: Deferred[] = Array.from({ length: 10 }, () => deferred());
  const connections = new Recorder<StreamConnection>();
  const closed = new Recorder<StreamCloseReason>();

  @Controller()
  class Streams {
    @Stream('steps', { format: 'text' })
    async *steps() {
      for (const [i, step] of steps.entries()) {
        yield `step ${i}\n`;
        await step.promise;
      }
    }

    @Stream('text', { format: 'text' })
    *text(@Query('size') size = '5000') {
      yield 'x'.repeat(Number(size));
    }

    @Stream('lines', { format: 'text' })
    *lines(@Query('n') n = '20000') {
      for (let i = 0; i < Number(n); i++) {
        yield `${i} ${LINE}`;
      }
    }

    @Stream('failing', { format: 'ndjson' })
    async *failing() {
      yield { before: LINE };
      await steps[0]?.promise;
      throw new Error('secret');
    }

    @Stream('final-error', { format: FINAL_ERROR_FORMAT })
    async *finalError() {
      yield { before: LINE };
      await steps[0]?.promise;
      throw new Error('secret');
    }

    @Stream('promised', { format: 'ndjson' })
    *promised() {
      yield Promise.resolve({ before: LINE });
      yield Promise.reject(new Error('secret'));
    }

    @Stream('endless', { format: 'bytes', sendTimeout: 60_000 })
    *endless(@ConnectedStream() stream: StreamConnection) {
      connections.add(stream);
      stream.hooks({ onClose: (_stream, reason) => closed.add(reason) });
      for (let i = 0; ; i++) {
        this.pulled++;
        yield NOISE.subarray((i % 16) * 16_384, ((i % 16) + 1) * 16_384);
      }
    }
    pulled = 0;

    @Stream('silent', { format: 'text' })
    silent(@ConnectedStream() stream: StreamConnection) {
      connections.add(stream.open());
    }

    @Stream('empty', { format: 'text' })
    *empty() {
      yield* [];
    }

    @Stream('none', { format: 'text' })
    none(@ConnectedStream() stream: StreamConnection) {
      void stream.status(204).open();
    }

    @Stream('headed', { format: 'text' })
    *headed(@ConnectedStream() stream: StreamConnection, @Query('name') name: string, @Query('value') value: string) {
      stream.header(name, value);
      yield LINE.repeat(100);
    }

    @Stream('response')
    response(@Query('encoded') encoded?: string) {
      const headers = { 'content-type': 'text/plain', vary: 'Origin', ...(encoded && { 'content-encoding': encoded }) };
      return new Response(LINE.repeat(100), { headers });
    }

    @Stream('described', { format: 'text' })
    described(@ConnectedStream() stream: StreamConnection, @Query('name') name: string, @Query('value') value: string) {
      stream.header(name, value);
      return [LINE.repeat(100)];
    }

    @Stream('off', { format: 'text', compression: false })
    *off() {
      yield LINE.repeat(100);
    }

    @Stream('own', { format: 'text', compression: { encodings: ['gzip'], threshold: 10 } })
    *own(@Query('size') size: string) {
      yield 'x'.repeat(Number(size));
    }

    @Stream('fails-first', { format: 'text' })
    failsFirst(): never {
      throw new Error('secret');
    }

    @Stream('cached', { format: 'text' })
    @Header('Cache-Control', 'no-cache')
    *cached() {
      yield LINE.repeat(100);
    }

    @Get('plain')
    plain() {
      return LINE.repeat(100);
    }
  }
  return { controllers: [Streams], steps, connections, closed };
}

describe.each(PLATFORMS)('%s: compression', (platform) => {
  async function start(options: StreamingModuleOptions = ALL) {
    const scripted = streams();
    const app = await launch(platform, { controllers: scripted.controllers, options });
    const get = (path: string, accept?: string, method = 'GET'): Promise<DecodingClient> =>
      DecodingClient.get(app.url(path), accept === undefined ? {} : { 'Accept-Encoding': accept }, method);
    return { ...app, ...scripted, client: get };
  }

  describe('the response to a client', () => {
    const best = CODINGS[0];

    it.each<[string | undefined, string | undefined]>([
      [undefined, undefined],
      ['', undefined],
      ['identity', undefined],
      ['deflate', undefined],
      ['gzip', 'gzip'],
      ['GZIP', 'gzip'],
      ['br', 'br'],
      ['gzip, deflate, br, zstd', best],
      ['br, gzip', 'br'],
      ['gzip, br', 'br'],
      ['gzip;q=1, br;q=0.5', 'gzip'],
      ['gzip;q=0.5, br;q=0.500', 'br'],
      ['gzip;q=0', undefined],
      ['gzip;q=0, br', 'br'],
      ['identity;q=1, gzip;q=0.5', undefined],
      ['identity;q=0.5, gzip', 'gzip'],
      ['*', best],
      ['*;q=0.1', best],
      ['*, gzip;q=0', best],
      ['br;q=0, *;q=0, gzip', 'gzip'],
      ['identity;q=0, gzip', 'gzip'],
      ['nonsense;q=x, gzip;q=x', undefined],
      [',,;;=', undefined],
    ])('with Accept-Encoding: %p is encoded as %p', async (accept, coding) => {
      const { client } = await start();

      const response = await client('/text', accept);

      expect(await response.over()).toBe('x'.repeat(5_000));
      expect(response.ended).toBe(true);
      expect(response.coding).toBe(coding);
      expect(response.header('vary')).toMatch(/\bAccept-Encoding\b/);
    });

    it.each(['identity;q=0', '*;q=0', 'identity;q=0, deflate', 'gzip;q=0, identity;q=0, br;q=0, zstd;q=0'])(
      'with Accept-Encoding: %s is 406, because no encoding is acceptable',
      async (accept) => {
        const { client } = await start();

        const response = await client('/text', accept);

        expect(response.response.statusCode).toBe(406);
        expect(JSON.parse(await response.over())).toMatchObject({
          acceptable: [...CODINGS, 'identity'],
          message: `No encoding is acceptable. Available: ${[...CODINGS, 'identity'].join(', ')}`,
        });
      },
    );

    it('that forbids identity is encoded, even if it is short', async () => {
      const { client } = await start();

      const response = await client('/text?size=1', 'identity;q=0, gzip');

      expect(response.coding).toBe('gzip');
      expect(await response.over()).toBe('x');
    });

    it('has the encoding that the server prefers among those of equal weight', async () => {
      const { client } = await start({ compression: { encodings: ['gzip', 'br'] } });

      expect((await client('/text', 'br, gzip')).coding).toBe('gzip');
    });

    it('is not encoded by default, and does not vary by Accept-Encoding', async () => {
      const { client } = await start({});

      const response = await client('/text', 'identity;q=0, gzip, br');

      expect(response.coding).toBeUndefined();
      expect(response.header('vary') ?? '').not.toContain('Accept-Encoding');
      expect(await response.over()).toBe('x'.repeat(5_000));
    });

    it('follows the options of the route if these differ from those of the application', async () => {
      const { client } = await start();

      const off = await client('/off', 'gzip');
      const own = await client('/own?size=10', 'gzip, br');
      const short = await client('/own?size=9', 'gzip, br');

      expect([off.coding, off.header('vary')]).toEqual([undefined, undefined]);
      expect(own.coding).toBe('gzip');
      expect(short.coding).toBeUndefined();
    });

    it('is encoded if only the route has the option', async () => {
      const { client } = await start({});

      expect((await client('/own?size=10', 'gzip')).coding).toBe('gzip');
      expect((await client('/text', 'gzip')).coding).toBeUndefined();
    });
  });

  describe('the threshold', () => {
    it.each([
      [1_023, undefined, '1023'],
      [1_024, 'gzip', undefined],
    ])('leaves a body of %i bytes with the encoding %p', async (size, coding, length) => {
      const { client } = await start();

      const response = await client(`/text?size=${size}`, 'gzip');

      expect(response.coding).toBe(coding);
      expect(response.header('content-length')).toBe(length);
      expect(await response.over()).toBe('x'.repeat(size));
    });

    it('applies only to bodies that end before anything is sent, so a stream that stays open is encoded from its first byte', async () => {
      const { client, steps } = await start();

      const response = await client('/steps', 'gzip');
      await response.until('step 0\n');

      expect(response.coding).toBe('gzip');
      for (const step of steps) {
        step.resolve();
      }
      expect((await response.over()).split('\n')).toHaveLength(11);
    });

    it('leaves an empty body empty', async () => {
      const { client } = await start();

      const response = await client('/empty', 'gzip');

      expect([response.coding, await response.over(), response.header('content-length')]).toEqual([undefined, '', '0']);
    });
  });

  describe.each(CODINGS)('%s', (coding) => {
    it('can be decompressed up to each chunk as soon as it is sent, and has a clean end', async () => {
      const { client, steps } = await start();
      const response = await client('/steps', coding);

      for (const [i, step] of steps.entries()) {
        await response.until(`step ${i}\n`);
        step.resolve();
      }

      expect(await response.over()).toBe(Array.from(steps, (_, i) => `step ${i}\n`).join(''));
      expect(response.error).toBeUndefined();
      expect(response.coding).toBe(coding);
    });

    it('contains a long stream completely', async () => {
      const { client } = await start();

      const response = await client('/lines', coding);
      const text = await response.over();

      expect(text).toBe(Array.from({ length: 20_000 }, (_, i) => `${i} ${LINE}`).join(''));
      expect(Buffer.concat(response.bytes).length).toBeLessThan(text.length / 5);
      expect(response.error).toBeUndefined();
    });

    it('of a stream that fails is cut off after the record of the error', async () => {
      const { client, steps } = await start();
      const response = await client('/failing', coding);
      await response.until('before');

      steps[0]?.resolve();
      const text = await response.over();

      expect(text).toContain('{"error":');
      expect(response.ended).toBe(false);
      expect(response.error).toBeDefined();
    });

    it('of a stream that fails ends cleanly if its format has truncate: false', async () => {
      const { client, steps } = await start();
      const response = await client('/final-error', coding);
      await response.until('before');

      steps[0]?.resolve();

      expect(await response.over()).toBe(`${JSON.stringify({ before: LINE })}\nfailed 500\n`);
      expect(response.ended).toBe(true);
      expect(response.error).toBeUndefined();
    });

    it('contains the values of promised chunks, and is cut off when one rejects', async () => {
      const { client } = await start();
      const response = await client('/promised', coding);

      expect(await response.over()).toMatch(/^\{"before":.*\}\n\{"error":.*\}\n$/);
      expect(response.ended).toBe(false);
    });

    it('pauses the source for a client that does not read, and continues when it reads', async () => {
      const { app, client, connections, controllers } = await start();
      const response = await client('/endless', coding);
      response.response.pause();
      const [stream] = await connections.count(1);
      const feed = app.get(controllers[0] as never) as { pulled: number };

      const held = await untilStable(() => feed.pulled);
      const buffered = stream?.bufferedAmount ?? 0;
      response.response.resume();
      while (feed.pulled <= held + 100) {
        await once(response.response, 'data');
      }
      response.leave();

      expect(buffered).toBeGreaterThan(0);
      // The part that the stream and its encoder hold. The rest is in the sockets of both sides.
      expect(buffered).toBeLessThan(200_000);
    });

    it('stops when the client disconnects in the middle', async () => {
      const { client, closed, logs, registry } = await start();
      const response = await client('/endless', coding);
      await once(response.response, 'data');

      response.leave();

      expect(await closed.count(1)).toEqual([{ code: 'client-closed' }]);
      expect(registry.size).toBe(0);
      expect(logs.of('error')).toEqual([]);
    });

    it('of a stream that opens before its first chunk sends its head at once', async () => {
      const { client, connections } = await start();

      const response = await client('/silent', coding);
      const [stream] = await connections.count(1);
      await stream?.send('now');
      await response.until('now');
      await stream?.close();

      expect(await response.over()).toBe('now');
      expect(response.coding).toBe(coding);
    });

    it('of a stream that ends after its head, without a chunk, is complete', async () => {
      const { client, connections } = await start();
      const response = await client('/silent', coding);

      const [stream] = await connections.count(1);
      await stream?.close();

      expect(await response.over()).toBe('');
      expect([response.ended, response.error, response.coding]).toEqual([true, undefined, coding]);
    });

    it('ends cleanly when the application closes', async () => {
      const { client, close, connections } = await start();
      const response = await client('/silent', coding);
      const [stream] = await connections.count(1);
      await stream?.send('last');

      await close();

      expect(await response.over()).toBe('last');
      expect(response.ended).toBe(true);
    });

    itWith('curl')('can be read by curl --compressed', async () => {
      const { url } = await start();
      const child = spawn('curl', [
        ...['-sS', '-N', '--noproxy', '*', '--compressed', '-D', '-'],
        ...['-H', `Accept-Encoding: ${coding}`, url('/lines?n=3000')],
      ]);
      let output = '';
      child.stdout.on('data', (data) => {
        output += data;
      });
      const [code] = await once(child, 'close');

      const [head = '', body] = output.split('\r\n\r\n');
      expect(head.toLowerCase()).toContain(`content-encoding: ${coding}`);
      expect(body).toBe(Array.from({ length: 3_000 }, (_, i) => `${i} ${LINE}`).join(''));
      expect(code).toBe(0);
    });
  });

  describe('is not applied', () => {
    it('to the response to HEAD, which has Vary nevertheless', async () => {
      const { client } = await start();

      const response = await client('/text', 'gzip', 'HEAD');

      expect([response.coding, await response.over()]).toEqual([undefined, '']);
      expect(response.header('vary')).toBe('Accept-Encoding');
    });

    it.each([
      ['Content-Length', '5000', undefined],
      ['Accept-Ranges', 'bytes', undefined],
      ['ETag', '"strong"', 'W/"strong"'],
    ])('to the response to HEAD, whose %s is the same as for GET', async (name, value, said) => {
      const { client } = await start();

      const response = await client(`/described?name=${name}&value=${encodeURIComponent(value)}`, 'gzip', 'HEAD');

      expect([response.header(name.toLowerCase()), await response.over()]).toEqual([said, '']);
    });

    it('to a status without a body', async () => {
      const { client } = await start();

      const response = await client('/none', 'gzip');

      expect([response.response.statusCode, response.coding, await response.over()]).toEqual([204, undefined, '']);
    });

    it.each([
      ['Content-Range', 'bytes 0-4999/9999'],
      ['Repr-Digest', 'sha-256=:AAAA:'],
      ['Content-Digest', 'sha-256=:AAAA:'],
    ])('to a body whose %s describes its bytes', async (name, value) => {
      const { client } = await start();

      const response = await client(`/headed?name=${name}&value=${encodeURIComponent(value)}`, 'gzip');

      expect([response.coding, response.header(name.toLowerCase())]).toEqual([undefined, value]);
      expect(await response.over()).toBe(LINE.repeat(100));
    });

    it('to a body that the application has encoded itself', async () => {
      const { url } = await start();

      const response = await fetch(url('/headed?name=Content-Encoding&value=identity'), {
        headers: { 'Accept-Encoding': 'gzip' },
      });

      expect(response.headers.get('content-encoding')).toBe('identity');
      expect(await response.text()).toBe(LINE.repeat(100));
    });

    it('to a web Response that is encoded already', async () => {
      const { url } = await start();

      const response = await fetch(url('/response?encoded=x-own'), { headers: { 'Accept-Encoding': 'gzip' } });

      expect(response.headers.get('content-encoding')).toBe('x-own');
      expect(await response.text()).toBe(LINE.repeat(100));
    });

    it('to an error before the first byte', async () => {
      const { client } = await start();

      const response = await client('/fails-first', 'gzip');

      expect([response.response.statusCode, response.coding]).toEqual([500, undefined]);
      expect(JSON.parse(await response.over())).toMatchObject({ statusCode: 500 });
    });

    it('to routes that are not streams', async () => {
      const { client } = await start();

      const response = await client('/plain', 'gzip');

      expect([response.coding, response.header('vary')]).toEqual([undefined, undefined]);
    });
  });

  describe('the other headers of a compressed response', () => {
    it('of a web Response that becomes encoded keep its Vary', async () => {
      const { client } = await start();

      const response = await client('/response', 'gzip');

      expect(await response.over()).toBe(LINE.repeat(100));
      expect([response.coding, response.header('vary')]).toEqual(['gzip', 'Accept, Accept-Encoding, Origin']);
    });

    it.each([
      ['ETag', '"strong"', 'W/"strong"'],
      ['ETag', 'W/"weak"', 'W/"weak"'],
      ['Content-Length', '5000', undefined],
      ['Accept-Ranges', 'bytes', undefined],
      ['Content-Type', 'text/x-own', 'text/x-own'],
    ])('include %s, of which %s becomes %p', async (name, value, expected) => {
      const { client } = await start();

      const response = await client(`/headed?name=${name}&value=${encodeURIComponent(value)}`, 'gzip');

      expect(await response.over()).toBe(LINE.repeat(100));
      expect([response.coding, response.header(name.toLowerCase())]).toEqual(['gzip', expected]);
    });

    it('include an ETag, which is unchanged if the body is not encoded', async () => {
      const { client } = await start();

      const response = await client('/headed?name=ETag&value=%22strong%22', 'identity');

      expect(response.header('etag')).toBe('"strong"');
    });

    it('tell proxies not to transform the body', async () => {
      const { client } = await start();

      expect((await client('/text', 'gzip')).header('cache-control')).toBe('no-cache, no-transform');
    });
  });

  it('encodes a body over HTTP/1.0, which ends with the connection', async () => {
    const { connect } = await start();
    const client = await connect();

    client.send('GET /text HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n');
    await client.closed();

    expect(client.head).toMatch(/content-encoding: gzip/i);
    expect(client.head).not.toMatch(/transfer-encoding/i);
    expect(gunzipSync(Buffer.from(client.body, 'latin1')).toString()).toBe('x'.repeat(5_000));
  });

  it('sends the responses to pipelined requests one after the other', async () => {
    const { connect } = await start();
    const client = await connect();
    const request = (size: number) => `GET /text?size=${size} HTTP/1.1\r\nHost: test\r\nAccept-Encoding: gzip\r\n`;

    client.send(`${request(2_000)}\r\n${request(3_000)}Connection: close\r\n\r\n`);
    await client.closed();

    const bodies = client.received.split(/HTTP\/1\.1 200 OK\r\n/).slice(1);
    const sizes = bodies.map((body) => {
      const text = body.slice(body.indexOf('\r\n\r\n') + 4);
      const parts: Buffer[] = [];
      for (let at = 0; ; ) {
        const line = text.indexOf('\r\n', at);
        const size = Number.parseInt(text.slice(at, line), 16);
        if (!(size > 0)) {
          break;
        }
        parts.push(Buffer.from(text.slice(line + 2, line + 2 + size), 'latin1'));
        at = line + 4 + size;
      }
      return gunzipSync(Buffer.concat(parts)).length;
    });
    expect(sizes).toEqual([2_000, 3_000]);
  });

  if (platform === 'express') {
    it.each(['/text', '/cached'])('is not repeated by middleware that compresses: %s', async (path) => {
      const { controllers } = streams();
      const { url } = await launch(platform, {
        controllers,
        options: ALL,
        configure: (app) => void app.use(compression({ threshold: 0 })),
      });

      const response = await DecodingClient.get(url(path), { 'Accept-Encoding': 'gzip' });

      expect((await response.over()).length).toBeGreaterThan(4_000);
      expect(response.coding).toBe('gzip');
      expect(response.ended).toBe(true);
    });
  }
});

describe('compression options', () => {
  it.each([
    ['gzip', 'must be an object with encodings, threshold'],
    [null, 'must be an object with encodings, threshold'],
    [{ encodings: [] }, '"compression.encodings" must be a list of "zstd", "br", "gzip"'],
    [{ encodings: ['deflate'] }, '"compression.encodings" must be a list of "zstd", "br", "gzip"'],
    [{ encodings: 'gzip' }, '"compression.encodings" must be a list of "zstd", "br", "gzip"'],
    [{ encodings: ['gzip'], threshold: -1 }, '"compression.threshold" must be a whole number of bytes'],
    [{ encodings: ['gzip'], level: 9 }, '"compression" has an unknown option "level". Known: encodings, threshold'],
  ])('refuse %j at start-up', async (given, message) => {
    const starting = launch('express', { options: { compression: given } as unknown as StreamingModuleOptions });

    await expect(starting).rejects.toThrow(message);
  });

  const DEFAULTED: readonly (readonly [
    application: StreamingModuleOptions['compression'],
    route: StreamingModuleOptions['compression'],
    codings: readonly (string | undefined)[],
    short: boolean,
  ])[] = [
    [true, undefined, CODINGS, false],
    [{}, undefined, CODINGS, false],
    [{ threshold: 0 }, undefined, CODINGS, true],
    [{ encodings: undefined, threshold: 0 }, undefined, CODINGS, true],
    [{ encodings: ['gzip'] }, undefined, ['gzip'], false],
    [undefined, true, CODINGS, false],
    [false, { threshold: 0 }, CODINGS, true],
    [{ encodings: ['gzip'] }, true, ['gzip'], false],
    [{ encodings: ['gzip'] }, { threshold: 0 }, ['gzip'], true],
    [{ threshold: 0 }, { encodings: ['br'] }, ['br'], true],
    [true, false, [], false],
  ];

  it.each(DEFAULTED)(
    'of the application %j and of a route %j result in %j',
    async (application, route, codings, short) => {
      const size = (n: number) => () => ['x'.repeat(n)];
      const options = { format: 'text', ...(route !== undefined && { compression: route }) } as const;
      const setup = { options: application === undefined ? {} : { compression: application } };
      const long = await launch('express', { ...setup, controllers: [controllerOf(size(2_000), options)] });
      const brief = await launch('express', { ...setup, controllers: [controllerOf(size(20), options)] });

      const accepted: (string | undefined)[] = [];
      for (const coding of CODINGS) {
        const response = await DecodingClient.get(long.url('/source'), { 'Accept-Encoding': coding });
        expect(await response.over()).toHaveLength(2_000);
        accepted.push(response.coding);
      }
      const { coding } = await DecodingClient.get(brief.url('/source'), { 'Accept-Encoding': CODINGS.join() });

      expect(accepted.filter((each) => each !== undefined)).toEqual(codings);
      expect(coding).toBe(short ? codings[0] : undefined);
    },
  );

  it('log one warning for zstd alone on a Node.js that does not support it', async () => {
    const { controllers } = streams();
    const app = await launch('express', { controllers, options: { compression: { encodings: ['zstd'] } } });

    const response = await DecodingClient.get(app.url('/text'), { 'Accept-Encoding': 'zstd' });

    const has = CODINGS.includes('zstd');
    expect(response.coding).toBe(has ? 'zstd' : undefined);
    expect(await response.over()).toBe('x'.repeat(5_000));
    const warnings = app.logs.of('warn').filter((line) => line.includes('Nothing is compressed with zstd'));
    expect(warnings).toHaveLength(has ? 0 : 1);
  });
});
