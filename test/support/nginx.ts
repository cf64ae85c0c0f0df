import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { realProcess } from './real-process.js';
import { toolPath } from './tools.js';

const GUIDE = fileURLToPath(new URL('../../docs/deploying.md', import.meta.url));
/** Another program may take the port after it was found free and before nginx listens on it. */
const ATTEMPTS = 5;

/** Returns the content of `http { … }` in a configuration, for the port of nginx and that of the application. */
export type NginxConfig = (port: number, app: number) => string;

/** The configuration of docs/deploying.md, without TLS. */
export const documentedConfig: NginxConfig = (port, app) => {
  const [, shown] = /^```nginx\n([\s\S]*?)^```$/m.exec(readFileSync(GUIDE, 'utf8')) ?? [];
  return replaceEach(shown ?? '', {
    'listen 443 ssl;': `listen 127.0.0.1:${port};`,
    // Browsers use HTTP/2 only with TLS.
    'http2 on;': '',
    'server 127.0.0.1:3000;': `server 127.0.0.1:${app};`,
  });
};

/** The smallest configuration of a proxy: it sends HTTP/1.0 to the application, on a separate connection for each request. */
export const plainConfig: NginxConfig = (port, app) =>
  `server { listen 127.0.0.1:${port}; location / { proxy_pass http://127.0.0.1:${app}; } }`;

function replaceEach(text: string, replacements: Readonly<Record<string, string>>): string {
  return Object.entries(replacements).reduce((result, [from, to]) => {
    if (!result.includes(from)) {
      throw new Error(`The nginx block of docs/deploying.md has no ${from}`);
    }
    return result.replace(from, to);
  }, text);
}

/** The installed nginx, in one process, which writes only to a temporary folder. */
export class Nginx {
  private constructor(
    readonly port: number,
    private readonly app: number,
    private readonly config: NginxConfig,
    private readonly folder: string,
    private child: ChildProcess,
  ) {}

  /** Starts it in front of an application. */
  static async start(app: number, config: NginxConfig): Promise<Nginx> {
    const folder = mkdtempSync(join(tmpdir(), 'streaming-nginx-'));
    for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
      const port = await freePort();
      const child = await launch(folder, config(port, app));
      if (child) {
        return new Nginx(port, app, config, folder, child);
      }
    }
    throw new Error(`nginx does not start:\n${errorsIn(folder)}`);
  }

  /** Ends it at once, with all its connections. */
  async halt(): Promise<void> {
    if (this.child.exitCode === null && this.child.signalCode === null) {
      const exited = once(this.child, 'exit');
      this.child.kill('SIGTERM');
      await exited;
    }
  }

  /** Starts it again, on the same port. */
  async restart(): Promise<void> {
    const child = await launch(this.folder, this.config(this.port, this.app));
    if (!child) {
      throw new Error(`nginx does not start again:\n${errorsIn(this.folder)}`);
    }
    this.child = child;
  }

  /** Ends it, and removes its folder. */
  async stop(): Promise<void> {
    await this.halt();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Starts nginx. @returns `undefined` if it does not start, for example because its port is in use */
async function launch(folder: string, config: string): Promise<ChildProcess | undefined> {
  const file = join(folder, 'nginx.conf');
  const pid = join(folder, 'nginx.pid');
  writeFileSync(file, wholeConfig(folder, pid, config));
  rmSync(pid, { force: true });
  const child = spawn(toolPath('nginx') ?? 'nginx', ['-p', folder, '-c', file, '-e', join(folder, 'error.log')], {
    stdio: 'ignore',
  });
  const kill = (): void => void child.kill('SIGKILL');
  realProcess.once('exit', kill);
  child.once('exit', () => realProcess.off('exit', kill));
  // It writes its pid when it listens.
  while (!existsSync(pid)) {
    if (child.exitCode !== null || child.signalCode !== null) {
      return undefined;
    }
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  return child;
}

function wholeConfig(folder: string, pid: string, config: string): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (what) => `${what}_temp_path ${join(folder, what)};`,
  );
  return `
daemon off;
master_process off;
pid ${pid};
events { worker_connections 1024; }
http {
  access_log off;
  ${temporary.join('\n  ')}
  ${config}
}
`;
}

function errorsIn(folder: string): string {
  const file = join(folder, 'error.log');
  return existsSync(file) ? readFileSync(file, 'utf8') : '';
}

/** A port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  return typeof address === 'object' && address !== null ? address.port : 0;
}
