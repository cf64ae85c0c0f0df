import { Observable, of } from 'rxjs';
import { getRunsToken, type Runs, StreamingModule } from '../../lib/index.js';
import { PLATFORMS } from '../support/app.js';
import { controllerOf } from '../support/controller.js';
import { realProcess } from '../support/real-process.js';
import { turns, useApps } from '../support/running.js';

const launch = useApps();

/** The errors that would have ended the process. */
const escaped: unknown[] = [];
const note = (error: unknown): void => void escaped.push(error);

beforeAll(() => void realProcess.on('unhandledRejection', note));
afterAll(() => void realProcess.off('unhandledRejection', note));

describe.each(PLATFORMS)('on %s', (platform) => {
  async function answerOf(produce: () => unknown) {
    const { app, url } = await launch(platform, {
      imports: [StreamingModule.registerRuns({ name: 'answers', onDisconnect: 'detach' })],
      controllers: [
        controllerOf((): unknown => app.get<Runs>(getRunsToken('answers')).start('a1', () => produce() as never), {
          format: 'ndjson',
        }),
      ],
    });
    const response = await fetch(url('/source'));
    const body = await response.text().catch(() => 'cut off');
    const status = (await app.get<Runs>(getRunsToken('answers')).get('a1'))?.status;
    return { code: response.status, body, status };
  }

  it.each([
    ['rejects without an error', () => Promise.reject()],
    ['throws null', () => Promise.reject(null)],
  ])('a producer that %s before its first chunk is answered with 500', async (_, produce) => {
    expect(await answerOf(produce)).toEqual({
      code: 500,
      body: '{"statusCode":500,"message":"Internal server error"}',
      status: 'failed',
    });
  });

  it('an answer that ends with `throw undefined` does not look complete', async () => {
    async function* produce() {
      yield 'half';
      await turns(20);
      throw undefined;
    }
    const { code, body, status } = await answerOf(produce);
    expect({ code, status }).toEqual({ code: 200, status: 'failed' });
    expect(body).toMatch(/^cut off$|"half"\n.*Internal server error/);
  });

  it('an Observable that emits a promise which rejects fails its run, and not the process', async () => {
    expect(await answerOf(() => of(Promise.reject(new Error('broken'))))).toMatchObject({ status: 'failed' });
    const several = new Observable<Promise<never>>((subscriber) => {
      subscriber.next(Promise.reject(new Error('first')));
      subscriber.next(Promise.reject(new Error('second')));
    });
    expect(await answerOf(() => several)).toMatchObject({ status: 'failed' });
    await turns();
    expect(escaped).toEqual([]);
  });
});
