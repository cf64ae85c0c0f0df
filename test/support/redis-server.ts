import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { freePort } from './nginx.js';
import { realProcess } from './real-process.js';
import { toolPath } from './tools.js';

const run = promisify(execFile);
/** Another program may take the port after it was found free and before Redis listens on it. */
const ATTEMPTS = 5;
/** The last words of the line with which a server, and a Sentinel, says that it is ready. */
const READY = /Ready to accept connections|Sentinel ID is/;
/** Nothing is written to the disk, unless a test asks for it. */
const IN_MEMORY: readonly string[] = ['--save', '', '--appendonly', 'no'];

/** A process of `redis-server`, which listens on 127.0.0.1 and writes only to a temporary folder. */
export class RedisServer {
  private constructor(
    readonly port: number,
    /** Its working folder. */
    readonly folder: string,
    private readonly options: readonly string[],
    private child: ChildProcess,
  ) {}

  /**
   * Starts it on a free port, and waits until it accepts connections.
   * @param options options of the command line, such as `'--appendonly', 'yes'`. Without them, nothing is written to the disk
   */
  static start(...options: readonly string[]): Promise<RedisServer> {
    return RedisServer.startIn(mkdtempSync(join(tmpdir(), 'streaming-redis-')), [...IN_MEMORY, ...options]);
  }

  /** Starts a Sentinel that watches a master under the name `main`, and takes it for down after 500 ms of silence. */
  static sentinel(master: RedisServer, quorum = 1): Promise<RedisServer> {
    const folder = mkdtempSync(join(tmpdir(), 'streaming-redis-'));
    const file = join(folder, 'sentinel.conf');
    const lines = [
      `sentinel monitor main 127.0.0.1 ${master.port} ${quorum}`,
      'sentinel down-after-milliseconds main 500',
      'sentinel failover-timeout main 2000',
    ];
    writeFileSync(file, `${lines.join('\n')}\n`);
    // Sentinel writes its state to the file.
    return RedisServer.startIn(folder, [file, '--sentinel']);
  }

  private static async startIn(folder: string, options: readonly string[]): Promise<RedisServer> {
    let output = '';
    for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
      const port = await freePort();
      const started = await launch(folder, port, options);
      if (typeof started !== 'string') {
        return new RedisServer(port, folder, options, started);
      }
      output = started;
    }
    rmSync(folder, { recursive: true, force: true });
    throw new Error(`redis-server does not start:\n${output}`);
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`;
  }

  get pid(): number | undefined {
    return this.child.pid;
  }

  /** Runs a command by `redis-cli`. Resolves to its output without the last newline. */
  async cli(...args: readonly string[]): Promise<string> {
    const { stdout } = await run(toolPath('redis-cli') ?? 'redis-cli', ['-p', `${this.port}`, ...args], {
      timeout: 30_000,
    });
    return stdout.replace(/\n$/, '');
  }

  /** Ends the process at once with SIGKILL, as a crash would. */
  async kill(): Promise<void> {
    if (this.child.exitCode === null && this.child.signalCode === null) {
      const exited = once(this.child, 'exit');
      this.child.kill('SIGKILL');
      await exited;
    }
  }

  /** Starts it again, on the same port and in the same folder, after it was killed. */
  async restart(...options: readonly string[]): Promise<void> {
    await this.kill();
    const started = await launch(this.folder, this.port, [...this.options, ...options]);
    if (typeof started === 'string') {
      throw new Error(`redis-server does not start again:\n${started}`);
    }
    this.child = started;
  }

  /** Suspends the process: its connections stay open, and nothing is answered. */
  freeze(): void {
    this.child.kill('SIGSTOP');
  }

  /** Resumes the process. */
  thaw(): void {
    this.child.kill('SIGCONT');
  }

  /** Ends it at once, and removes its folder. */
  async stop(): Promise<void> {
    await this.kill();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Starts a Cluster of masters without replicas, and of one replica for each master if `replicas` is set. */
export async function startRedisCluster(masters = 3, { replicas = false } = {}): Promise<readonly RedisServer[]> {
  const nodes = await Promise.all(
    Array.from({ length: replicas ? masters * 2 : masters }, () =>
      RedisServer.start('--cluster-enabled', 'yes', '--cluster-node-timeout', '1000'),
    ),
  );
  const [first] = nodes;
  const addresses = nodes.map(({ port }) => `127.0.0.1:${port}`);
  await first?.cli('--cluster', 'create', ...addresses, '--cluster-replicas', replicas ? '1' : '0', '--cluster-yes');
  for (const node of nodes) {
    while (!(await node.cli('cluster', 'info')).includes('cluster_state:ok')) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
  return nodes;
}

/** Starts the process, and waits until it is ready. @returns its output if it ends before that, for example because the port is in use */
async function launch(folder: string, port: number, options: readonly string[]): Promise<ChildProcess | string> {
  const args = [...options, '--port', `${port}`, '--bind', '127.0.0.1', '--dir', folder];
  const child = spawn(toolPath('redis-server') ?? 'redis-server', args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const kill = (): void => void child.kill('SIGKILL');
  realProcess.once('exit', kill);
  child.once('exit', () => realProcess.off('exit', kill));
  child.stderr.resume();
  const lines: string[] = [];
  const ready = new Promise<boolean>((resolve) => {
    createInterface({ input: child.stdout }).on('line', (line) => {
      // Later lines are read too, and dropped: a full pipe would block the server.
      if (lines.length < 200) {
        lines.push(line);
      }
      if (READY.test(line)) {
        resolve(true);
      }
    });
    child.once('error', (error) => lines.push(error.message));
    child.once('close', () => resolve(false));
  });
  return (await ready) ? child : lines.join('\n');
}
