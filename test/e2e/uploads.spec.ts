import type { IncomingMessage } from 'node:http';
import { PassThrough, pipeline, type Readable } from 'node:stream';
import { pipeline as piped } from 'node:stream/promises';
import { Controller, type INestApplication, Param, Req, RequestMethod } from '@nestjs/common';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { ConnectedStream, Stream, type StreamConnection } from '../../lib/index.js';
import { PLATFORMS, type Platform } from '../support/app.js';
import { Recorder } from '../support/events.js';
import { useSessions } from '../support/http2-client.js';
import { turns, useApps } from '../support/running.js';

/** Handlers that read an upload in different ways, and stream it back. */
const HANDLERS: Readonly<Record<string, (upload: Readable, stream: StreamConnection) => unknown>> = {
  async *'iterate it'(upload) {
    yield* upload;
  },
  'return it': (upload) => upload,
  'return the stream that it is piped into': (upload) => pipeline(upload, new PassThrough(), () => undefined),
  async 'await its pipeline'(upload, stream) {
    await piped(upload, async (chunks: AsyncIterable<Buffer>) => {
      for await (const chunk of chunks) {
        await stream.send(chunk);
      }
    });
    await stream.close();
  },
  async 'wrap its error'(upload, stream) {
    try {
      for await (const chunk of upload) {
        await stream.send(chunk);
      }
    } catch (cause) {
      throw new Error('The upload failed', { cause });
    }
  },
  async 'reject late'(upload, stream) {
    stream.open();
    try {
      for await (const chunk of upload) {
        await stream.send(chunk);
      }
    } catch (error) {
      await turns();
      throw error;
    }
  },
};
const SHAPES = Object.keys(HANDLERS);

/** Errors of a handler that do not come from the upload. */
const OWN: Readonly<Record<string, () => Error>> = {
  'an error of its own': () => new Error('The database is gone'),
  'a reset of another connection': () => Object.assign(new Error('aborted'), { code: 'ECONNRESET' }),
};

const settled = new Recorder();

@Controller()
class Uploads {
  @Stream('uploads/:shape', { method: RequestMethod.POST, format: 'bytes' })
  upload(
    @Req() request: Readable & { readonly raw?: IncomingMessage },
    @Param('shape') shape: string,
    @ConnectedStream() stream: StreamConnection,
  ): unknown {
    return HANDLERS[shape]?.(request.raw ?? request, stream);
  }

  @Stream('failing/:what', { method: RequestMethod.POST, format: 'bytes' })
  async *failing(@Req() request: Readable & { readonly raw?: IncomingMessage }, @Param('what') what: string) {
    try {
      yield* request.raw ?? request;
    } catch {
      settled.add(what);
      throw OWN[what]?.();
    }
  }
}

/** Makes Fastify leave the bodies of uploads to handlers, as Express does. */
function leaveBodies(app: INestApplication): void {
  if (app.getHttpAdapter().getType() === 'fastify') {
    const instance = (app as NestFastifyApplication).getHttpAdapter().getInstance();
    instance.addContentTypeParser('application/octet-stream', (_request, payload, done) => done(null, payload));
  }
}

const CLIENTS: readonly (readonly [name: string, platform: Platform, http2: boolean])[] = [
  ...PLATFORMS.map((platform) => [`HTTP/1.1, ${platform}`, platform, false] as const),
  ['HTTP/2, fastify', 'fastify', true],
];

describe.each(CLIENTS)('%s: an upload that its client aborts', (_name, platform, http2) => {
  const launch = useApps();
  const open = useSessions();

  /** Uploads data, waits until it is sent back, and disconnects. */
  async function abort(path: string) {
    const ended = new Recorder();
    const app = await launch(platform, {
      controllers: [Uploads],
      ...(http2 && { fastify: { http2: true } }),
      options: { hooks: { onClose: (_stream, { code }) => ended.add(code) } },
      configure: leaveBodies,
    });
    const headers = { 'content-type': 'application/octet-stream' };
    if (http2) {
      const { session } = await open(app.port);
      const request = session.request({ ':path': path, ':method': 'POST', ...headers });
      request.on('error', () => undefined);
      request.write('abc');
      await new Promise((resolve) => request.once('data', resolve));
      request.destroy();
    } else {
      const client = await app.get(path, { ...headers, 'Content-Length': '100' }, 'POST');
      client.send('abc');
      await client.until('abc');
      client.disconnect();
    }
    expect(await ended.count(1)).toEqual(['client-closed']);
    return app;
  }

  it.each(SHAPES)('counts as a client that has disconnected, and not as an error, if handlers %s', async (shape) => {
    const { logs, close } = await abort(encodeURI(`/uploads/${shape}`));
    await turns(20);
    await close();

    expect([...logs.of('error'), ...logs.of('warn')]).toEqual([]);
  });

  it('is logged at the level debug', async () => {
    const { logs } = await abort(encodeURI('/uploads/iterate it'));
    while (logs.of('debug').length === 0) {
      await turns(1);
    }

    expect(logs.of('debug')).toEqual([
      expect.stringMatching(
        /^debug Uploads\.upload \(stream \w+\): its client disconnected before it had sent the whole request$/,
      ),
    ]);
  });

  it.each(Object.keys(OWN))('does not hide another error that a handler then throws: %s', async (what) => {
    const { logs } = await abort(encodeURI(`/failing/${what}`));
    while (logs.of('error').length === 0) {
      await turns(1);
    }

    expect(settled.seen.at(-1)).toBe(what);
    expect(logs.of('error')).toEqual([expect.stringContaining('threw an error after it had ended')]);
  });
});
