import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { freePort } from './nginx.js';
import { realProcess } from './real-process.js';
import { toolPath } from './tools.js';

/** Another program may take the port after it was found free and before NATS listens on it. */
const ATTEMPTS = 5;
const REQUEST_MS = 30_000;

/** A process of `nats-server` with JetStream, which listens on 127.0.0.1 and writes only to a temporary folder. */
export class NatsServer {
  private admin: NatsConnection | undefined;

  private constructor(
    readonly port: number,
    /** Its configuration and its streams. */
    readonly folder: string,
    private child: ChildProcess,
  ) {}

  /**
   * Starts it on a free port, and waits until it accepts connections.
   * @param config lines of its configuration, such as `max_payload: 1000`
   */
  static async start(...config: readonly string[]): Promise<NatsServer> {
    let output = '';
    for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
      const started = await NatsServer.startOn(await freePort(), config);
      if (typeof started !== 'string') {
        return started;
      }
      output = started;
    }
    throw new Error(`nats-server does not start:\n${output}`);
  }

  /** Starts it on a port. @returns its output if it ends before it is ready */
  static async startOn(port: number, config: readonly string[]): Promise<NatsServer | string> {
    const folder = mkdtempSync(join(tmpdir(), 'streaming-nats-'));
    const lines = ['host: 127.0.0.1', `jetstream: { store_dir: "${folder}/js" }`, ...config];
    writeFileSync(join(folder, 'nats.conf'), `${lines.join('\n')}\n`);
    const started = await launch(folder, port);
    if (typeof started === 'string') {
      rmSync(folder, { recursive: true, force: true });
      return started;
    }
    return new NatsServer(port, folder, started);
  }

  get url(): string {
    return `nats://127.0.0.1:${this.port}`;
  }

  get pid(): number | undefined {
    return this.child.pid;
  }

  /** Returns a connection of the test, which is closed with the server. */
  async connection(): Promise<NatsConnection> {
    this.admin ??= await connect({ servers: this.url, maxReconnectAttempts: -1, reconnectTimeWait: 50 });
    return this.admin;
  }

  /** Sends a request to JetStream. @returns the answer, which may have the property `error` */
  async api<T = Readonly<Record<string, unknown>>>(subject: string, body?: object, timeout = REQUEST_MS): Promise<T> {
    const admin = await this.connection();
    const payload = body === undefined ? '' : JSON.stringify(body);
    return (await admin.request(`$JS.API.${subject}`, payload, { timeout })).json<T>();
  }

  /** Ends the process at once with SIGKILL, as a crash would. */
  async kill(): Promise<void> {
    await this.admin?.close();
    this.admin = undefined;
    if (this.child.exitCode === null && this.child.signalCode === null) {
      const exited = once(this.child, 'exit');
      this.child.kill('SIGKILL');
      await exited;
    }
  }

  /**
   * Kills it, and starts it again on the same port and in the same folder.
   * @param meanwhile called in between with a server that has the folder and another port, to change what is stored
   */
  async restart(meanwhile?: (server: NatsServer) => Promise<void>): Promise<void> {
    await this.kill();
    if (meanwhile) {
      const port = await freePort();
      const other = new NatsServer(port, this.folder, await started(this.folder, port));
      try {
        await meanwhile(other);
      } finally {
        await other.kill();
      }
    }
    this.child = await started(this.folder, this.port);
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

/** Starts the process, and waits until it is ready. @returns its output if it ends before that, for example because the port is in use */
async function launch(folder: string, port: number): Promise<ChildProcess | string> {
  const child = spawn(toolPath('nats-server') ?? 'nats-server', ['-c', join(folder, 'nats.conf'), '-p', `${port}`], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const kill = (): void => void child.kill('SIGKILL');
  realProcess.once('exit', kill);
  child.once('exit', () => realProcess.off('exit', kill));
  const lines: string[] = [];
  const ready = new Promise<boolean>((resolve) => {
    createInterface({ input: child.stderr }).on('line', (line) => {
      // Later lines are read too, and dropped: a full pipe would block the server.
      if (lines.length < 200) {
        lines.push(line);
      }
      if (line.includes('Server is ready')) {
        resolve(true);
      }
    });
    child.once('error', (error) => lines.push(error.message));
    child.once('close', () => resolve(false));
  });
  return (await ready) ? child : lines.join('\n');
}

async function started(folder: string, port: number): Promise<ChildProcess> {
  const child = await launch(folder, port);
  if (typeof child === 'string') {
    throw new Error(`nats-server does not start again:\n${child}`);
  }
  return child;
}
