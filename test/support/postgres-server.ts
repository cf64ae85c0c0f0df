import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { freePort } from './nginx.js';
import { realProcess } from './real-process.js';
import { toolPath } from './tools.js';

const run = promisify(execFile);
/** Another program may take the port after it was found free and before Postgres listens on it. */
const ATTEMPTS = 5;
const READY = /database system is ready to accept/;
/** What is committed survives the end of the processes, not that of the machine. */
const SETTINGS = [
  'fsync=off',
  'max_connections=200',
  'unix_socket_directories=',
  'listen_addresses=127.0.0.1',
  'shared_buffers=32MB',
];

/** The path of a program of Postgres: Debian installs those of the server in a folder for each version. */
export function postgresPath(name: string): string | undefined {
  return toolPath(name, postgresFolders());
}

function postgresFolders(): string[] {
  try {
    const versions = readdirSync('/usr/lib/postgresql').toSorted((a, b) => Number(b) - Number(a));
    return versions.map((version) => join('/usr/lib/postgresql', version, 'bin'));
  } catch {
    return [];
  }
}

/** Postgres and PgBouncer refuse to run as root. Returns the user that it runs as then, and nothing for another user. */
export function userOf(): { readonly uid?: number; readonly gid?: number } {
  if (realProcess.getuid?.() !== 0) {
    return {};
  }
  const idOf = (option: string): number => Number(execFileSync('id', [option, 'postgres']));
  return { uid: idOf('-u'), gid: idOf('-g') };
}

/** Returns a new temporary folder of that user. */
export function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'streaming-postgres-'));
  const { uid, gid } = userOf();
  if (uid !== undefined && gid !== undefined) {
    chownSync(folder, uid, gid);
  }
  chmodSync(folder, 0o700);
  return folder;
}

async function tool(name: string, ...args: readonly string[]): Promise<string> {
  const { stdout } = await run(postgresPath(name) ?? name, args, { ...userOf(), timeout: 120_000, cwd: '/' });
  return stdout;
}

/** A process of `postgres`, which listens on 127.0.0.1 and writes only to a temporary folder. */
export class PostgresServer {
  private constructor(
    readonly port: number,
    /** Its data. */
    readonly folder: string,
    private child: ChildProcess,
  ) {}

  /** Creates a database, starts a server on a free port, and waits until it accepts connections. */
  static async start(...settings: readonly string[]): Promise<PostgresServer> {
    const folder = newFolder();
    await tool('initdb', '-D', folder, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--locale=C', '--no-sync');
    return PostgresServer.startIn(folder, settings);
  }

  /** Starts a replica of another server. */
  static async replicaOf(primary: PostgresServer): Promise<PostgresServer> {
    const folder = newFolder();
    const target = `host=127.0.0.1 port=${primary.port} user=postgres`;
    await tool('pg_basebackup', '-D', folder, '-d', target, '-R', '--checkpoint=fast', '--no-sync');
    return PostgresServer.startIn(folder, []);
  }

  private static async startIn(folder: string, settings: readonly string[]): Promise<PostgresServer> {
    let output = '';
    for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
      const port = await freePort();
      const started = await launch(folder, port, settings);
      if (typeof started !== 'string') {
        return new PostgresServer(port, folder, started);
      }
      output = started;
    }
    rmSync(folder, { recursive: true, force: true });
    throw new Error(`postgres does not start:\n${output}`);
  }

  get url(): string {
    return `postgres://postgres@127.0.0.1:${this.port}/postgres`;
  }

  /** Executes SQL by `psql`. Resolves to its output: columns are separated by `|`. */
  async sql(text: string, ...options: readonly string[]): Promise<string> {
    const child = spawn(
      postgresPath('psql') ?? 'psql',
      [this.url, '-X', '-A', '-t', '-q', '-v', 'ON_ERROR_STOP=1', '-f', '-', ...options],
      { stdio: ['pipe', 'pipe', 'pipe'], cwd: '/' },
    );
    const output: Buffer[] = [];
    const errors: Buffer[] = [];
    child.stdout.on('data', (data: Buffer) => output.push(data));
    child.stderr.on('data', (data: Buffer) => errors.push(data));
    child.stdin.end(text);
    const [code] = await once(child, 'close');
    if (code !== 0) {
      throw new Error(`psql has ended with ${code}: ${Buffer.concat(errors)}`);
    }
    return `${Buffer.concat(output)}`.trimEnd();
  }

  /** Ends all processes of the server at once with SIGKILL, as a crash of the machine would. */
  async kill(): Promise<void> {
    if (this.child.exitCode === null && this.child.signalCode === null) {
      const exited = once(this.child, 'exit');
      this.signal('SIGKILL');
      await exited;
    }
  }

  /** Starts it again, on the same port and in the same folder, after it was killed. */
  async restart(): Promise<void> {
    await this.kill();
    const started = await launch(this.folder, this.port, []);
    if (typeof started === 'string') {
      throw new Error(`postgres does not start again:\n${started}`);
    }
    this.child = started;
  }

  /** Makes a primary of a replica. */
  async promote(): Promise<void> {
    await this.sql('SELECT pg_promote()');
  }

  /** Suspends all processes of the server: its connections stay open, and nothing is answered. */
  freeze(): void {
    this.signal('SIGSTOP');
  }

  /** Resumes the processes. */
  thaw(): void {
    this.signal('SIGCONT');
  }

  /** Ends it at once, and removes its folder. */
  async stop(): Promise<void> {
    await this.kill();
    rmSync(this.folder, { recursive: true, force: true });
  }

  private signal(signal: NodeJS.Signals): void {
    const { pid = 0 } = this.child;
    // First the parent, which would start other processes.
    for (const each of [pid, ...childrenOf(pid)]) {
      try {
        realProcess.kill(each, signal);
      } catch {
        // It has ended.
      }
    }
  }
}

/** Returns the ids of the children of a process. Each process of Postgres has a group of its own. */
function childrenOf(parent: number): number[] {
  const ids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  return ids.filter((id) => parentOf(id) === parent).map(Number);
}

function parentOf(id: string): number | undefined {
  try {
    // The name of the program is in parentheses, and may contain spaces.
    const [, parent] = readFileSync(`/proc/${id}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
    return Number(parent);
  } catch {
    return undefined;
  }
}

/** Starts the process, and waits until it is ready. @returns its output if it ends before that, for example because the port is in use */
async function launch(folder: string, port: number, settings: readonly string[]): Promise<ChildProcess | string> {
  const options = [...SETTINGS, ...settings, `port=${port}`].flatMap((setting) => ['-c', setting]);
  const child = spawn(postgresPath('postgres') ?? 'postgres', ['-D', folder, ...options], {
    ...userOf(),
    cwd: '/',
    env: { ...process.env, LC_ALL: 'C' },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const kill = (): void => {
    for (const id of [child.pid ?? 0, ...childrenOf(child.pid ?? 0)].filter((each) => each > 0)) {
      try {
        realProcess.kill(id, 'SIGKILL');
      } catch {
        // It has ended.
      }
    }
  };
  realProcess.once('exit', kill);
  child.once('exit', () => realProcess.off('exit', kill));
  const lines: string[] = [];
  const ready = new Promise<boolean>((resolve) => {
    createInterface({ input: child.stderr }).on('line', (line) => {
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
