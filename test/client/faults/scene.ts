import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { realProcess } from '../../support/real-process.js';
import type { Settings } from './clients.js';
import { Feed, type FeedEvents, type Published, type Refusal } from './feed.js';
import { type Lane, Stage } from './stage.js';

/** Ends a process even if a test hangs. */
const LONGEST_MS = 120_000;

/** What a {@link FeedProcess} and its parent send each other. */
export type ToParent =
  | { readonly port: number }
  | { readonly request: Parameters<FeedEvents['onRequest']>[0] }
  | { readonly left: string };

/** The server in a process of its own, which can be killed. */
export class FeedProcess {
  private constructor(
    private readonly child: ChildProcess,
    readonly port: number,
  ) {}

  static async start(published: readonly Published[], events: FeedEvents): Promise<FeedProcess> {
    const hook = new URL('../../support/typescript.mjs', import.meta.url).href;
    const child = fork(fileURLToPath(new URL('feed.process.ts', import.meta.url)), [JSON.stringify(published)], {
      execArgv: ['--no-warnings', '--import', hook],
      timeout: LONGEST_MS,
      killSignal: 'SIGKILL',
    });
    const kill = (): void => void child.kill('SIGKILL');
    realProcess.once('exit', kill);
    child.once('exit', () => realProcess.off('exit', kill));
    const port = await new Promise<number>((resolve, reject) => {
      child.on('message', (message: ToParent) => {
        if ('port' in message) {
          resolve(message.port);
        } else if ('request' in message) {
          events.onRequest(message.request);
        } else {
          events.onLeft(message.left);
        }
      });
      child.once('exit', (code) => reject(new Error(`The server did not start: ${code}`)));
    });
    return new FeedProcess(child, port);
  }

  async publish(who: string, n: number): Promise<void> {
    this.child.send({ who, n } satisfies Published);
  }

  /** Kills it. */
  async close(): Promise<void> {
    const exited = once(this.child, 'exit');
    this.child.kill('SIGKILL');
    await exited;
  }
}

/** Where and how clients start. */
interface Opening {
  /** Default: that of the server. */
  readonly port?: number;
  /** Default: `/feed`. */
  readonly path?: string;
  readonly settings?: Settings;
}

/** The clients that meet one fault, and their server. */
export class Scene {
  readonly stages: Stage[] = [];
  /** What a log that outlives its server contains. */
  private readonly published: Published[] = [];
  private readonly others: { stop(): Promise<void> }[] = [];
  private server: Feed | FeedProcess | undefined;
  private readonly events: FeedEvents = {
    onRequest: (request) => this.stages.find(({ who }) => who === request.who)?.onRequest(request),
    onLeft: (name) => this.stages.find(({ who }) => who === name)?.onLeft(),
  };

  constructor(readonly name: string) {}

  get port(): number {
    return this.server?.port ?? 0;
  }

  /** Starts a server in this process. */
  async serve(): Promise<void> {
    this.server = await Feed.start(this.published, this.events);
  }

  /** Starts a server in another process. */
  async fork(): Promise<void> {
    this.server = await FeedProcess.start(this.published, this.events);
  }

  /** Closes the server with grace, or kills it if it is another process. */
  async endServer(): Promise<void> {
    const { server } = this;
    this.server = undefined;
    await server?.close();
  }

  /** Adds something that is stopped at the end. */
  keep<T extends { stop(): Promise<void> }>(other: T): T {
    this.others.push(other);
    return other;
  }

  /** Adds a client for each lane, which does not run yet. */
  cast(lanes: readonly Lane[]): void {
    this.stages.push(...lanes.map((lane) => new Stage(`${this.name}-${lane.name}`.replace(/\W+/g, '-'), lane)));
  }

  /** Starts all clients, and waits until each has its first item. */
  async open(lanes: readonly Lane[], { port = this.port, path = '/feed', settings }: Opening = {}): Promise<void> {
    this.cast(lanes);
    await this.each(async (stage) => {
      await stage.start(await stage.behindNetwork(port), path, settings);
      await stage.until(() => stage.requests.length > 0, 'its first request');
      await this.publish(stage, 1);
      await stage.until(() => stage.items.length > 0, 'its first item');
      stage.begin();
    });
  }

  /** Publishes an item to one client. While there is no server, the item is in the log that the next one reads. */
  async publish({ who }: Stage, n: number): Promise<void> {
    this.published.push({ who, n });
    await this.server?.publish(who, n);
  }

  refuse({ who }: Stage, refusal: Refusal): void {
    this.feed.refuse(who, refusal);
  }

  demand({ who }: Stage, token: string): void {
    this.feed.demand(who, token);
  }

  /** Calls a function for every client at the same time. */
  each<T>(run: (stage: Stage) => Promise<T>): Promise<T[]> {
    return Promise.all(this.stages.map(run));
  }

  /** Waits until a client has recovered or not, sends it the last item, and says what became of it. */
  async finish(stage: Stage, last: number): Promise<string> {
    await stage.untilSettled();
    await this.publish(stage, last);
    const isRefused = !stage.isBack;
    await stage.until(() => isRefused || stage.over !== undefined || stage.items.includes(last), `item ${last}`);
    return stage.outcome(last);
  }

  async close(): Promise<void> {
    await Promise.all(this.stages.map((stage) => stage.stop()));
    for (const other of this.others.reverse()) {
      await other.stop();
    }
    await this.endServer();
  }

  private get feed(): Feed {
    if (!(this.server instanceof Feed)) {
      throw new Error('The server runs in another process, or not at all');
    }
    return this.server;
  }
}
