// A project that `nest new` makes: its commands, its application, the Redis that it uses, and the blocks of the guides that are pasted into it.
import { execFile, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';

const STARTED = 'Nest application successfully started';
const COMMAND_LIMIT_MS = 240_000;
/** How the question of the command line of Nest 12 is answered: a key for each text that it shows. */
export const ANSWERS = {
  ESM: [['Which module system', '\r']],
  CommonJS: [
    ['Which module system', '\x1b[B'],
    ['❯ CJS', '\r'],
  ],
};
const BLOCK = /(?:^`([\w./-]+)`(?: \((ESM|CommonJS)\))?\n\n)?^```(\w+)[^\n]*\n([\s\S]*?)^```$/gm;

/** The blocks of a page. */
export function blocksOf(name) {
  const page = readFileSync(new URL(`../docs/${name}.md`, import.meta.url), 'utf8');
  return [...page.matchAll(BLOCK)].map(([, file, system, language, text]) => ({ file, system, language, text }));
}

/** Runs a command, answers its questions, and resolves to what it prints. `script` gives it a terminal, without which nothing is asked. */
function run(command, { cwd, env, answers = [] }) {
  const [program, ...parts] =
    answers.length > 0 ? ['script', '-qec', `stty cols 120 rows 40; ${command}`, '/dev/null'] : ['sh', '-c', command];
  const options = { cwd, env, timeout: COMMAND_LIMIT_MS, maxBuffer: 2 ** 24 };
  return new Promise((done, fail) => {
    const child = execFile(program, parts, options, (error, out, log) =>
      error && !command.startsWith('curl')
        ? fail(new Error(`${command} ended with ${error.code ?? error.signal}\n${out}${log}`))
        : done(out + log),
    );
    const open = [...answers];
    let shown = '';
    child.stdout.on('data', (text) => {
      shown += text;
      while (open.length > 0 && shown.includes(open[0][0])) {
        child.stdin.write(open[0][1]);
        open.shift();
      }
    });
  });
}

export function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  return once(server, 'listening').then(() => {
    const { port } = server.address();
    return new Promise((done) => server.close(() => done(port)));
  });
}

function accepts(port, host = 'localhost') {
  return new Promise((done) => {
    const socket = connect(port, host);
    socket.once('connect', () => done(true)).once('error', () => done(false));
    socket.once('connect', () => socket.destroy());
  });
}

/** A `redis-server` on a free port, which writes nothing to the disk. */
export class RedisServer {
  constructor(port, folder, child) {
    Object.assign(this, { port, folder, child, url: `redis://127.0.0.1:${port}` });
  }

  static isInstalled() {
    return spawnSync('redis-server', ['--version']).status === 0;
  }

  static async start() {
    const port = await freePort();
    const folder = mkdtempSync(join(tmpdir(), 'project-redis-'));
    const options = ['--port', `${port}`, '--bind', '127.0.0.1', '--dir', folder, '--save', '', '--appendonly', 'no'];
    const child = spawn('redis-server', options, { stdio: 'ignore' });
    while (!(await accepts(port, '127.0.0.1'))) {
      if (child.exitCode !== null) throw new Error(`redis-server ended with ${child.exitCode}`);
      await setTimeout(50);
    }
    return new RedisServer(port, folder, child);
  }

  async stop() {
    const ended = once(this.child, 'exit');
    if (this.child.kill('SIGKILL')) await ended;
    rmSync(this.folder, { recursive: true, force: true });
  }
}

export class Project {
  server;

  constructor(name, directory, port) {
    this.name = name;
    this.cwd = directory;
    this.port = port;
    const { CI, ...env } = process.env; // where CI is set, `nest new` asks nothing
    this.env = { ...env, PORT: String(port), NO_COLOR: '1' };
  }

  say(line) {
    console.log(`${this.name}: ${line}`);
  }

  run(command, answers) {
    return run(command, { cwd: this.cwd, env: this.env, answers });
  }

  /** Starts the application, and waits until it listens. */
  async start() {
    this.server = spawn('sh', ['-c', this.starting], { cwd: this.cwd, env: this.env, detached: true });
    let log = '';
    let timer;
    await new Promise((done, fail) => {
      const giveUp = () => fail(new Error(`${this.starting} did not start within ${COMMAND_LIMIT_MS} ms\n${log}`));
      timer = globalThis.setTimeout(giveUp, COMMAND_LIMIT_MS);
      this.server.once('exit', (code) => fail(new Error(`${this.starting} ended with ${code}\n${log}`)));
      for (const output of [this.server.stdout, this.server.stderr]) {
        output.on('data', (text) => {
          log += text;
          if (log.includes(STARTED)) done();
        });
      }
    }).finally(() => clearTimeout(timer));
    while (this.server.exitCode === null && !(await accepts(this.port))) await setTimeout(50); // Nest says that it has started just before it listens
  }

  /** Stops it as Ctrl+C does: the signal reaches all processes of the command. */
  async stop() {
    const { server } = this;
    if (server === undefined || server.exitCode !== null || server.signalCode !== null) return;
    const ended = once(server, 'exit');
    process.kill(-server.pid, 'SIGINT');
    const inTime = await Promise.race([ended, setTimeout(20_000, undefined, { ref: false })]);
    if (inTime === undefined) {
      process.kill(-server.pid, 'SIGKILL');
      throw new Error(`${this.starting} did not end within 20 s after Ctrl+C`);
    }
    this.server = undefined;
  }
}
