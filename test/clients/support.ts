import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { HttpException, type Type } from '@nestjs/common';
import { type AppSetup, PLATFORMS, type Platform } from '../support/app.js';
import { type Deferred, deferred, Recorder } from '../support/events.js';
import { type RunningApp, useApps } from '../support/running.js';
import { TcpProxy } from '../support/tcp-proxy.js';
import type { ClientCall, ClientError, FromProgram, ToProgram } from './programs/program.js';

/** Ends the process of a client even if a test hangs. */
const LONGEST_MS = 240_000;
export const HEARTBEAT_MS = 20;
/** How many heartbeats are sent after each item, at least. */
const BEATS = 3;
/** How many items a client has before something happens to its answer. */
export const KEPT = 2;

/** What a client made of one answer. */
export interface Outcome {
  /** What it passed to its user, in order. */
  readonly items: readonly unknown[];
  /** What it returned at the end. */
  readonly result?: unknown;
  readonly error?: ClientError;
}

/** The functions of a program, which get a {@link ClientCall} in addition to what the test passes. */
type Functions = Readonly<Record<string, (call: ClientCall, ...args: never[]) => Promise<unknown>>>;
type Arguments<F> = F extends (call: ClientCall, ...args: infer Args) => Promise<unknown> ? Args : never;

/** A call of a client that has not ended yet. */
export interface Pending {
  readonly items: Recorder<unknown>;
  readonly outcome: Promise<Outcome>;
  abort(): void;
}

/** A client package in a process of its own, as its users have it: without Jest, and without the server. */
export class ClientProcess<F extends Functions> {
  private readonly pending = new Map<number, Recorder<unknown> & { settle?: (outcome: Outcome) => void }>();
  private readonly reports = new Recorder<readonly string[]>();
  private count = 0;

  private constructor(private readonly child: ChildProcess) {
    child.on('message', (message: FromProgram) => this.receive(message));
    child.once('exit', (code, signal) => {
      for (const call of this.pending.values()) {
        call.settle?.({
          items: call.seen,
          error: { name: 'Exit', message: `The process has ended: ${code ?? signal}` },
        });
      }
    });
  }

  static async start<F extends Functions>(program: string): Promise<ClientProcess<F>> {
    const hook = new URL('../support/typescript.mjs', import.meta.url).href;
    const child = fork(fileURLToPath(new URL(`programs/${program}`, import.meta.url)), [], {
      execArgv: ['--no-warnings', '--import', hook],
      timeout: LONGEST_MS,
      killSignal: 'SIGKILL',
    });
    await once(child, 'message');
    return new ClientProcess<F>(child);
  }

  /** Calls a function of the program. The function reports items while it runs. */
  call<Name extends keyof F & string>(name: Name, ...args: Arguments<F[Name]>): Pending {
    this.count++;
    const id = this.count;
    const items: Recorder<unknown> & { settle?: (outcome: Outcome) => void } = new Recorder<unknown>();
    this.pending.set(id, items);
    const outcome = new Promise<Outcome>((resolve) => {
      items.settle = resolve;
    });
    this.send({ id, name, args });
    return { items, outcome, abort: () => this.send({ abort: id }) };
  }

  /** Returns what nobody has handled since the last time: rejections and exceptions, each of which ends a process by default. */
  async unhandled(): Promise<readonly string[]> {
    const { length } = this.reports.seen;
    this.send({ unhandled: true });
    return (await this.reports.count(length + 1)).at(-1) ?? [];
  }

  async stop(): Promise<void> {
    const over = once(this.child, 'exit');
    this.child.kill('SIGKILL');
    await over;
  }

  private send(message: ToProgram): void {
    this.child.send(message);
  }

  private receive(message: FromProgram): void {
    if ('ready' in message) {
      return;
    }
    if ('unhandled' in message) {
      this.reports.add(message.unhandled);
      return;
    }
    const call = this.pending.get(message.id);
    if ('item' in message) {
      call?.add(message.item);
    } else {
      this.pending.delete(message.id);
      call?.settle?.({ items: call.seen, result: message.result, error: message.error });
    }
  }
}

/** Starts the process of a client for all tests of a file. After each test, nothing may be unhandled in it. */
export function useClient<F extends Functions>(program: string): () => ClientProcess<F> {
  let running: ClientProcess<F> | undefined;
  const client = (): ClientProcess<F> => {
    if (!running) {
      throw new Error('The process of the client has not started');
    }
    return running;
  };
  beforeAll(async () => {
    running = await ClientProcess.start<F>(program);
  });
  afterEach(async () => {
    expect(await client().unhandled()).toEqual([]);
  });
  afterAll(() => client().stop());
  return client;
}

/** The connection between a client and the application. Records what the application sends. */
export class Wire {
  private readonly writes = new Recorder<string>();
  private limit: string | undefined;
  private proxy: TcpProxy | undefined;

  static async start(port: number): Promise<Wire> {
    const wire = new Wire();
    wire.proxy = await TcpProxy.start(port, (data) => wire.pass(data));
    return wire;
  }

  get port(): number {
    return this.proxy?.port ?? 0;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Everything that the application has sent, with heads and the framing of chunks. */
  get sent(): string {
    return this.writes.seen.join('');
  }

  /** Waits until the application has sent a number of heartbeats from now on. */
  async beats(count: number): Promise<void> {
    const wanted = this.heartbeats + count;
    while (this.heartbeats < wanted) {
      await this.writes.count(this.writes.seen.length + 1);
    }
  }

  /** Waits until the application has sent a text. */
  async carried(text: string): Promise<void> {
    while (!this.sent.includes(text)) {
      await this.writes.count(this.writes.seen.length + 1);
    }
  }

  /** Closes the connections in the middle of a text, which the application has still to send. */
  cutWithin(text: string): void {
    this.limit = text;
  }

  /** Closes the connections. */
  cut(): void {
    this.proxy?.cut();
  }

  async stop(): Promise<void> {
    await this.proxy?.stop();
  }

  private get heartbeats(): number {
    return this.sent.match(/\r\n:\n|event: ping\n/g)?.length ?? 0;
  }

  private pass(data: Buffer): Buffer {
    const text = data.toString('latin1');
    const at = this.limit === undefined ? -1 : text.indexOf(this.limit);
    this.writes.add(text);
    return at < 0 ? data : data.subarray(0, at + Math.ceil((this.limit?.length ?? 0) / 2));
  }
}

/**
 * What happens to an answer after {@link KEPT} items: nothing, an exception, nothing any more, the network is cut, or the network is cut in
 * the middle of the next item. `refused`: an exception before the first item.
 */
export type Fate = 'complete' | 'refused' | 'failed' | 'endless' | 'cut' | 'cut within an item';

/** A word of the item that comes next in every answer. */
const CUT_WITHIN = 'streams';

/** What the application throws: before the first item, and after it. */
export const REFUSAL = new HttpException('Too many questions', 429);
export const FAILURE = new HttpException('The model is away', 503);

/** The handler's side of a test: plays an answer, with heartbeats after each item. */
export class Stage {
  readonly aborted: Deferred<unknown> = deferred<unknown>();
  /** Resolves when the client has got {@link KEPT} items, and as many heartbeats after them as there have to be. */
  readonly kept: Deferred = deferred();
  wire: Wire | undefined;

  /** @param beats how many heartbeats there have to be after each item, at least. With 0, each item is waited for as JSON instead */
  constructor(
    readonly fate: Fate,
    private readonly beats = BEATS,
  ) {}

  async *play<T>(items: readonly T[], signal: AbortSignal): AsyncGenerator<T> {
    signal.addEventListener('abort', () => this.aborted.resolve(signal.reason));
    if (this.fate === 'refused') {
      throw REFUSAL;
    }
    for (const [i, item] of items.entries()) {
      if (i === KEPT) {
        await this.meet();
      }
      yield item;
      if (this.beats > 0) {
        await this.wire?.beats(this.beats);
      } else {
        await this.wire?.carried(JSON.stringify(item));
      }
    }
  }

  private async meet(): Promise<void> {
    this.kept.resolve();
    switch (this.fate) {
      case 'failed':
        throw FAILURE;
      case 'cut':
        return this.wire?.cut();
      case 'cut within an item':
        return this.wire?.cutWithin(CUT_WITHIN);
      case 'endless':
        return new Promise<never>(() => undefined);
    }
  }
}

export interface Scene extends RunningApp {
  readonly wire: Wire;
}

/** Starts applications that send heartbeats every 20 ms, behind a {@link Wire}. Both are closed after the test. */
export function useScenes(): (platform: Platform, stage: Stage | undefined, setup: AppSetup) => Promise<Scene> {
  const wires: Wire[] = [];
  // Clients are disconnected first, because applications wait for them.
  afterEach(async () => {
    for (const wire of wires.splice(0)) {
      await wire.stop();
    }
  });
  const launch = useApps();
  return async (platform, stage, setup) => {
    const app = await launch(platform, { ...setup, options: { heartbeat: HEARTBEAT_MS, ...setup.options } });
    const wire = await Wire.start(app.port);
    wires.push(wire);
    if (stage) {
      stage.wire = wire;
    }
    return { ...app, wire };
  };
}

/** A protocol, as one client speaks it with one route. */
export interface Protocol {
  /** The client, and what it asks for. */
  readonly name: string;
  /** The route, whose handler plays its items on the stage. */
  route(stage: Stage): Type;
  /** Asks the route. */
  ask(url: string): Pending;
  /** How many heartbeats there are after each item, at least. With 0, items are sent as JSON without heartbeats. Default: 3. */
  readonly beats?: number;
  /** Called after a test in which the network was cut. */
  readonly afterCut?: () => Promise<void>;
  /** The reason of the aborted signal after the client has left. Default: an error with the code `client-closed`. */
  readonly reason?: object;
  /** More for the application, such as filters. */
  readonly setup?: Omit<AppSetup, 'controllers'>;
  /** What the client makes of a complete answer, and of each other end. Without `closed` and `cut`, the client only waits for its timeout. */
  readonly outcomes: Readonly<
    Record<'complete' | 'refused' | 'failed' | 'aborted', Outcome> &
      Partial<Record<'closed' | 'cut' | 'cutWithin', Outcome>>
  >;
}

const LEFT = { code: 'client-closed' };

/** The tests that every protocol has to pass on both platforms. */
export function describeProtocol({
  name,
  route,
  ask,
  outcomes,
  setup,
  beats,
  afterCut,
  reason = LEFT,
}: Protocol): void {
  describe.each(PLATFORMS)(`%s: ${name}`, (platform) => {
    const start = useScenes();
    const play = async (fate: Fate) => {
      const stage = new Stage(fate, beats);
      const scene = await start(platform, stage, { ...setup, controllers: [route(stage)] });
      return { stage, scene, call: ask(scene.wire.url) };
    };

    it(`receives a complete answer${beats === 0 ? '' : ' with heartbeats between its items'}`, async () => {
      const { call, scene } = await play('complete');

      expect(await call.outcome).toEqual(outcomes.complete);
      expect(scene.logs.of('error')).toEqual([]);
      expect(scene.logs.of('warn')).toEqual([]);
    });

    it('reports an exception that is thrown before the first item', async () => {
      const { call } = await play('refused');

      expect(await call.outcome).toEqual(outcomes.refused);
    });

    it('reports an exception that is thrown after some items, with its message, and keeps the items', async () => {
      const { call } = await play('failed');

      expect(await call.outcome).toEqual(outcomes.failed);
    });

    it('can abort: the signal of the handler is aborted, and nothing is logged as an error', async () => {
      const { call, scene, stage } = await play('endless');
      await Promise.race([stage.kept.promise, call.outcome]);
      await Promise.race([call.items.count(Math.min(outcomes.aborted.items.length, KEPT)), call.outcome]);

      call.abort();

      expect(await stage.aborted.promise).toMatchObject(reason);
      expect(await call.outcome).toEqual(outcomes.aborted);
      expect(scene.logs.of('error')).toEqual([]);
    });

    if (outcomes.closed) {
      it('gets the end when the server closes the stream', async () => {
        const { call, scene, stage } = await play('endless');
        await Promise.race([stage.kept.promise, call.outcome]);

        await scene.registry.close();

        expect(await stage.aborted.promise).toMatchObject({ code: 'server-closed' });
        expect(await call.outcome).toEqual(outcomes.closed);
        expect(scene.logs.of('error')).toEqual([]);
      });
    }

    for (const [where, fate, outcome] of [
      ['between two items', 'cut', outcomes.cut],
      ['in the middle of an item', 'cut within an item', outcomes.cutWithin],
    ] as const) {
      if (outcome) {
        it(`notices that the network was cut ${where}`, async () => {
          const { call, stage } = await play(fate);

          expect(await call.outcome).toEqual(outcome);
          expect(await stage.aborted.promise).toMatchObject(reason);
          await afterCut?.();
        });
      }
    }
  });
}
