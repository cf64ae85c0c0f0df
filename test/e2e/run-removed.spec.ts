import { setTimeout as pause } from 'node:timers/promises';
import { Controller, Get, Param } from '@nestjs/common';
import {
  getRunsToken,
  InjectRuns,
  MemoryBroker,
  Runs,
  type RunView,
  Stream,
  StreamingModule,
} from '../../lib/index.js';
import { PLATFORMS } from '../support/app.js';
import { deferred } from '../support/events.js';
import { useApps } from '../support/running.js';

const RUNS = StreamingModule.registerRuns({ name: 'answers', onDisconnect: 'detach' });

/** A store whose logs expire when the test says so. */
class ExpiringBroker extends MemoryBroker {
  private readonly names = new Set<string>();

  override async create(...args: Parameters<MemoryBroker['create']>) {
    this.names.add(args[0]);
    return super.create(...args);
  }

  async expireRuns(): Promise<void> {
    for (const name of this.names) {
      if (/\/[0-9a-f]{64}$/.test(name)) {
        await this.drop(name);
      }
    }
  }
}

let go: ReturnType<typeof deferred<void>>;

/** The views that the route returns, by the id of their runs. */
const views = new Map<string, RunView<string>>();

@Controller('answers')
class Answers {
  constructor(@InjectRuns('answers') readonly runs: Runs<string>) {}

  @Get(':id')
  @Stream({ format: 'sse' })
  view(@Param('id') id: string) {
    return views.get(id);
  }
}

async function untilOver(runs: Runs<string>, id: string): Promise<void> {
  while ((await runs.get(id))?.status === 'running') {
    await pause(5);
  }
}

/** Starts a run of two chunks, of which a viewer has read one. */
async function startAndReadOne(runs: Runs<string>, id: string) {
  const view = await runs.start(id, async function* () {
    yield 'one';
    await go.promise;
    yield 'two';
  });
  const chunks = view[Symbol.asyncIterator]();
  expect(await chunks.next()).toMatchObject({ value: { data: 'one' } });
  return chunks;
}

beforeEach(() => {
  go = deferred();
});

describe.each(PLATFORMS)(
  '%s: a viewer that has not read all of its run when the log of the run is removed',
  (platform) => {
    const launch = useApps();

    async function start() {
      const broker = new ExpiringBroker();
      const app = await launch(platform, { controllers: [Answers], imports: [RUNS], options: { broker } });
      const runs: Runs<string> = app.app.get(getRunsToken('answers'));
      return { app, broker, runs };
    }

    it('receives an error that says that the run has completed, if its time is over', async () => {
      const { broker, runs } = await start();
      const chunks = await startAndReadOne(runs, 'a1');
      go.resolve();
      await untilOver(runs, 'a1');

      await broker.expireRuns();

      await expect(chunks.next()).rejects.toMatchObject({
        code: 'run-unknown',
        statusCode: 404,
        message: 'The run has completed, and is not kept any more',
      });
    });

    it('receives the same error if the run was deleted after it had completed', async () => {
      const { runs } = await start();
      const chunks = await startAndReadOne(runs, 'a1');
      go.resolve();
      await untilOver(runs, 'a1');

      await runs.delete('a1');

      await expect(chunks.next()).rejects.toMatchObject({ code: 'run-unknown', statusCode: 404 });
    });

    it('receives the same error if another run was started with the id of the completed one', async () => {
      const { runs } = await start();
      const chunks = await startAndReadOne(runs, 'a1');
      go.resolve();
      await untilOver(runs, 'a1');

      await runs.start('a1', () => ['new']);

      await expect(chunks.next()).rejects.toMatchObject({ code: 'run-unknown', statusCode: 404 });
    });

    it('receives the error of a run that has failed', async () => {
      const { broker, runs } = await start();
      const chunks = await startAndReadOne(runs, 'a1');
      go.reject(new Error('The model is gone'));
      await untilOver(runs, 'a1');

      await broker.expireRuns();

      await expect(chunks.next()).rejects.toThrow('The model is gone');
    });

    it('learns that its run was stopped, if it was deleted or replaced in progress', async () => {
      const { runs } = await start();
      const deleted = await startAndReadOne(runs, 'a1');
      const replaced = await startAndReadOne(runs, 'a2');

      await runs.delete('a1');
      await runs.start('a2', () => ['new'], { onConflict: 'replace' });

      await expect(deleted.next()).rejects.toMatchObject({ code: 'run-stopped', cause: { code: 'stopped' } });
      await expect(replaced.next()).rejects.toMatchObject({
        code: 'run-stopped',
        message: 'The run was stopped, because a new one with the same id was started',
      });
    });

    it('learns that its run is not there any more, if another one has taken its place before it reads', async () => {
      const { runs } = await start();
      const view = await runs.start('a1', () => ['old']);
      await untilOver(runs, 'a1');
      await runs.start('a1', () => ['new']);

      await expect(view[Symbol.asyncIterator]().next()).rejects.toMatchObject({
        code: 'run-lost',
        message: 'The run is not there any more: it was removed, or its store has lost it',
      });
    });

    it('receives 404 if nothing was sent yet', async () => {
      const { app, broker, runs } = await start();
      // Keeps the log open: it knows that the run has completed.
      await startAndReadOne(runs, 'a1');
      views.set('a1', await runs.join('a1'));
      go.resolve();
      await untilOver(runs, 'a1');
      await broker.expireRuns();

      const response = await fetch(app.url('/answers/a1'));

      expect(response.status).toBe(404);
      expect(await response.json()).toMatchObject({ message: 'The run has completed, and is not kept any more' });
    });
  },
);
