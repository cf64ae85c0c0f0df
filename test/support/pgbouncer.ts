import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { freePort } from './nginx.js';
import { newFolder, type PostgresServer, userOf } from './postgres-server.js';
import { realProcess } from './real-process.js';
import { toolPath } from './tools.js';

/** A process of `pgbouncer`, which shares two connections to a server between transactions. */
export class PgBouncer {
  private constructor(
    readonly port: number,
    private readonly folder: string,
    private readonly child: ChildProcess,
  ) {}

  static async start(server: PostgresServer): Promise<PgBouncer> {
    const folder = newFolder();
    const port = await freePort();
    const file = join(folder, 'pgbouncer.ini');
    const lines = [
      '[databases]',
      `postgres = host=127.0.0.1 port=${server.port} user=postgres`,
      '[pgbouncer]',
      'listen_addr = 127.0.0.1',
      `listen_port = ${port}`,
      'unix_socket_dir =',
      'auth_type = any',
      'pool_mode = transaction',
      'default_pool_size = 2',
    ];
    writeFileSync(file, `${lines.join('\n')}\n`, { mode: 0o644 });
    const child = spawn(toolPath('pgbouncer') ?? 'pgbouncer', [file], {
      ...userOf(),
      cwd: '/',
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    const kill = (): void => void child.kill('SIGKILL');
    realProcess.once('exit', kill);
    child.once('exit', () => realProcess.off('exit', kill));
    const bouncer = new PgBouncer(port, folder, child);
    const output: string[] = [];
    const ready = await new Promise<boolean>((resolve) => {
      createInterface({ input: child.stderr }).on('line', (line) => {
        output.push(line);
        if (line.includes('process up')) {
          resolve(true);
        }
      });
      child.once('error', (error) => output.push(error.message));
      child.once('close', () => resolve(false));
    });
    if (!ready) {
      throw new Error(`pgbouncer does not start:\n${output.join('\n')}`);
    }
    return bouncer;
  }

  get url(): string {
    return `postgres://postgres@127.0.0.1:${this.port}/postgres`;
  }

  async stop(): Promise<void> {
    if (this.child.exitCode === null && this.child.signalCode === null) {
      const exited = once(this.child, 'exit');
      this.child.kill('SIGKILL');
      await exited;
    }
    rmSync(this.folder, { recursive: true, force: true });
  }
}
