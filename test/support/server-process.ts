import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Platform } from './app.js';
import type { Commands } from './server.js';

/** Ends the process even if a test hangs. */
const LONGEST_MS = 240_000;
/** How many times memory is measured again if too much is in use. */
const MEASUREMENTS = 20;

/** The application of `server.ts` in a separate process, to measure its memory or to suspend it. */
export class ServerProcess {
  /** Rejects when the process ends, because no call can be answered after that. */
  private readonly over: Promise<never>;

  private constructor(
    readonly child: ChildProcess,
    readonly port: number,
  ) {
    this.over = once(child, 'exit').then(([code, signal]) => {
      throw new Error(`The process has ended: ${code ?? signal}`);
    });
    // If no call waits for an answer, this is not an error.
    this.over.catch(() => undefined);
  }

  static async start(platform: Platform): Promise<ServerProcess> {
    const hook = new URL('typescript.mjs', import.meta.url).href;
    const child = fork(fileURLToPath(new URL('server.ts', import.meta.url)), [platform], {
      execArgv: ['--expose-gc', '--no-warnings', '--import', hook],
      timeout: LONGEST_MS,
      killSignal: 'SIGKILL',
    });
    await once(child, 'message');
    const server = new ServerProcess(child, 0);
    return new ServerProcess(child, Number(await server.call('port')));
  }

  /** Calls a function in the process, and waits for the result. */
  async call<Name extends keyof Commands>(
    command: Name,
    ...args: Parameters<Commands[Name]>
  ): Promise<Awaited<ReturnType<Commands[Name]>>> {
    const answer = once(this.child, 'message');
    this.child.send({ command, args });
    const [{ result }] = await Promise.race([answer, this.over]);
    return result;
  }

  /** Waits until a number of streams is open, and the memory is stable. Resolves to the number of bytes in use. */
  async settled(streams: number): Promise<number> {
    let last = Number.NaN;
    for (;;) {
      const memory = await this.call('memory');
      if (Math.abs(memory - last) < 100_000 && (await this.call('streams')) === streams) {
        return memory;
      }
      last = memory;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  /**
   * Waits until a number of streams is open, and less than a number of bytes is in use. On a busy machine, V8 counts byte arrays for some time after
   * nothing refers to them.
   */
  async below(streams: number, bytes: number): Promise<void> {
    let memory = await this.settled(streams);
    for (let i = 0; memory >= bytes; i++) {
      if (i === MEASUREMENTS) {
        throw new Error(`${memory} bytes are in use, and not less than ${bytes}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 100));
      memory = await this.settled(streams);
    }
  }

  /** Resolves to the exit code, when nothing keeps the process alive any more. */
  async exited(): Promise<number | null> {
    const over = once(this.child, 'exit');
    this.child.disconnect();
    const [code] = await over;
    return code;
  }

  /** Ends the process, if it has not ended by itself. */
  async stop(): Promise<void> {
    if (this.child.exitCode !== null) {
      return;
    }
    const over = once(this.child, 'exit');
    this.child.kill('SIGKILL');
    await over;
  }
}
