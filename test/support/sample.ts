import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readdir, rm, stat } from 'node:fs/promises';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

const SAMPLE = `${ROOT}sample`;
const LOCK = `${SAMPLE}/.building`;
/** Longer than a build takes. An older lock belongs to a process that was killed. */
const LOCK_TIMEOUT_MS = 60_000;

/** Builds the sample as `npm start` does, unless it is up to date. Spec files that run at the same time share one build. */
export async function buildSample(): Promise<void> {
  while (!(await locked())) {
    await setTimeout(50);
  }
  try {
    if (!(await isBuilt())) {
      await promisify(execFile)(process.execPath, ['node_modules/@nestjs/cli/bin/nest.js', 'build'], { cwd: ROOT });
    }
  } finally {
    await rm(LOCK, { recursive: true, force: true });
  }
}

async function locked(): Promise<boolean> {
  const since = await changedAt(LOCK);
  if (since > 0 && Date.now() - since > LOCK_TIMEOUT_MS) {
    await rm(LOCK, { recursive: true, force: true });
  }
  return mkdir(LOCK).then(
    () => true,
    () => false,
  );
}

/** Whether the output is newer than every file of the sample. */
async function isBuilt(): Promise<boolean> {
  const names = await readdir(SAMPLE, { recursive: true });
  const sources = names.filter((name) => !name.startsWith('dist') && !name.startsWith('.'));
  const times = await Promise.all(sources.map((name) => changedAt(`${SAMPLE}/${name}`)));
  return (await changedAt(`${SAMPLE}/dist/main.js`)) > Math.max(...times);
}

/** When a file was changed. Resolves to 0 if there is none. */
function changedAt(path: string): Promise<number> {
  return stat(path).then(
    ({ mtimeMs }) => mtimeMs,
    () => 0,
  );
}

/** The output of a program, and methods to wait for it. */
export class Program {
  output = '';
  private readonly over: Promise<unknown>;
  private readonly waiting = new Set<() => void>();

  constructor(readonly child: ChildProcess) {
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.output += text;
        this.notifyWaiters();
      });
    }
    this.over = once(child, 'close').then(() => this.notifyWaiters());
  }

  static start(command: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): Program {
    return new Program(spawn(command, args, { cwd: ROOT, env: { ...process.env, NO_COLOR: '1', ...env } }));
  }

  /** Waits until it has printed a text. Rejects if it ends before. */
  async until(pattern: RegExp): Promise<RegExpMatchArray> {
    for (;;) {
      const match = this.output.match(pattern);
      if (match) {
        return match;
      }
      if (this.child.exitCode !== null || this.child.signalCode !== null) {
        throw new Error(`It ended before it printed ${pattern}:\n${this.output}`);
      }
      await new Promise<void>((resolve) => this.waiting.add(resolve));
    }
  }

  /** Ends it, unless it has ended already. Resolves to how it ended. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | NodeJS.Signals | null> {
    this.child.kill(signal);
    return this.ended();
  }

  async ended(): Promise<number | NodeJS.Signals | null> {
    await this.over;
    return this.child.exitCode ?? this.child.signalCode;
  }

  private notifyWaiters(): void {
    for (const resume of this.waiting) {
      resume();
    }
    this.waiting.clear();
  }
}

export interface Sample {
  readonly program: Program;
  readonly port: number;
  url(path: string): string;
}

/** The built sample in a separate process, on a free port unless one is given. */
export async function startSample(env: Readonly<Record<string, string>> = {}): Promise<Sample> {
  const program = Program.start(process.execPath, ['sample/start.mjs'], { PORT: '0', OPENAI_BASE_URL: '', ...env });
  const [, port] = await program.until(/Open http:\/\/localhost:(\d+)/);
  return { program, port: Number(port), url: (path) => `http://localhost:${port}${path}` };
}
