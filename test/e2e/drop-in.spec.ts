import { Controller, type MessageEvent, Sse as NestSse } from '@nestjs/common';
import { NEVER, Observable, of, throwError } from 'rxjs';
import { Sse } from '../../lib/index.js';
import { PLATFORMS, startApp, type TestApp } from '../support/app.js';
import { Recorder } from '../support/events.js';
import { IS_NEST_11_0, SseSignal } from '../support/nest.js';
import { RawClient } from '../support/raw-client.js';

/** Two controllers that differ in one import only. */
function sameBut(decorator: typeof Sse | typeof NestSse, path: string) {
  const Decorated = decorator as typeof Sse;
  @Controller(path)
  class Feed {
    @Decorated('events')
    events(): Observable<MessageEvent> {
      return of(
        { id: '1', type: 'price', data: { eur: 4.2 } },
        { id: '2', data: 'one\ntwo' },
        { id: '3', data: '', comment: 'a\nb', retry: 500 },
      );
    }

    @Decorated('failing')
    failing(): Observable<MessageEvent> {
      return throwError(() => new Error('secret'));
    }
  }
  return Feed;
}

// The `@Sse()` of Nest 11.0 sends no comments, and responds to every error with status 200.
if (!IS_NEST_11_0) {
  describe.each(PLATFORMS)('%s: a method written for the @Sse() of @nestjs/common', (platform) => {
    let running: TestApp;

    beforeAll(async () => {
      running = await startApp(platform, { controllers: [sameBut(Sse, 'ours'), sameBut(NestSse, 'nest')] });
    });

    afterAll(() => running.close());

    it('sends the same events after the import is changed', async () => {
      const bodies = await Promise.all(
        ['/ours/events', '/nest/events'].map(async (path) => (await fetch(running.url(path))).text()),
      );

      const [ours, nest] = bodies;
      expect(ours).toBe(nest?.replace(/^\n/, ''));
    });

    it('responds to an error before the first event with the same status and body', async () => {
      const [ours, nest] = await Promise.all(
        ['/ours/failing', '/nest/failing'].map(async (path) => {
          const response = await fetch(running.url(path));
          return { status: response.status, body: await response.text() };
        }),
      );

      expect(ours).toEqual(nest);
      expect(ours?.status).toBe(500);
    });
  });
}

if (SseSignal) {
  const Signal = SseSignal;
  describe.each(PLATFORMS)('%s: a method written for the @Sse() of @nestjs/common', (platform) => {
    it('receives an @SseSignal() that is aborted when the client disconnects', async () => {
      const signals = new Recorder<boolean>();
      @Controller()
      class Feed {
        @Sse('signal')
        signal(@Signal() signal: AbortSignal): Observable<MessageEvent> {
          signal.addEventListener('abort', () => signals.add(signal.aborted));
          return new Observable((subscriber) => subscriber.next({ id: '1', data: 'open' }));
        }
      }
      const { port, close } = await startApp(platform, { controllers: [Feed] });
      const client = await RawClient.get(port, '/signal');
      await client.until('open');

      client.disconnect();

      expect(await signals.count(1)).toEqual([true]);
      await close();
    });
  });
}

describe.each(PLATFORMS)('%s: openDelay 0', (platform) => {
  it('sends the head of a silent stream at once', async () => {
    @Controller()
    class Silent {
      @Sse('silent', { openDelay: 0 })
      silent() {
        return NEVER;
      }
    }
    const { port, close } = await startApp(platform, { controllers: [Silent], options: { shutdown: { grace: 0 } } });

    const client = await RawClient.get(port, '/silent');

    expect(await client.until('\r\n\r\n')).toMatch(/^HTTP\/1.1 200 OK\r\n/);
    client.disconnect();
    await close();
  });

  it('still lets an error have its status', async () => {
    @Controller()
    class Failing {
      @Sse('failing', { openDelay: 0 })
      async *failing() {
        await Promise.resolve();
        yield* [];
        throw new Error('before the first byte');
      }
    }
    const { url, close } = await startApp(platform, { controllers: [Failing] });

    expect((await fetch(url('/failing'))).status).toBe(500);
    await close();
  });
});
