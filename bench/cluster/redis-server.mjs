import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A server of Redis for the benchmark, which writes nothing to the disk. */

const READY = 'Ready to accept connections';

/** Whether `redis-server` is installed. */
export const isInstalled = (() => {
  try {
    return execFileSync('redis-server', ['--version'], { encoding: 'utf8' }).includes('Redis');
  } catch {
    return false;
  }
})();

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  server.close();
  await once(server, 'close');
  return port;
}

/** Starts a server on a free port. It ends with this process. */
export async function startRedis() {
  const port = await freePort();
  const folder = mkdtempSync(join(tmpdir(), 'bench-redis-'));
  const options = ['--port', `${port}`, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', folder];
  const child = spawn('redis-server', options, { stdio: ['ignore', 'pipe', 'inherit'] });
  const kill = () => child.kill('SIGKILL');
  process.on('exit', kill);
  const exited = once(child, 'exit');
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text) => {
    output = (output + text).slice(-10_000);
  });
  while (!output.includes(READY)) {
    const ended = await Promise.race([once(child.stdout, 'data').then(() => false), exited.then(() => true)]);
    if (ended) {
      throw new Error(`redis-server has ended:\n${output}`);
    }
  }
  const control = connect({ port, host: '127.0.0.1' }).setEncoding('latin1');
  await once(control, 'connect');

  /** Sends a command, and returns the answer: one bulk string. @param {string} command */
  async function ask(command) {
    control.write(`${command}\r\n`);
    let answer = '';
    for (;;) {
      answer += (await once(control, 'data'))[0];
      const [head, size] = /^\$(\d+)\r\n/.exec(answer) ?? [];
      if (head !== undefined && answer.length >= head.length + Number(size) + 2) {
        return answer.slice(head.length);
      }
    }
  }

  return {
    url: `redis://127.0.0.1:${port}`,
    /** The CPU time of the thread that executes commands, in microseconds. */
    async cpu() {
      const info = await ask('INFO cpu');
      const seconds = [...info.matchAll(/^used_cpu_(?:user|sys)_main_thread:([\d.]+)/gm)].map(([, each]) =>
        Number(each),
      );
      return seconds.reduce((sum, each) => sum + each, 0) * 1e6;
    },
    /** The memory of all data, in bytes. */
    async memory() {
      return Number(/^used_memory:(\d+)/m.exec(await ask('INFO memory'))?.[1]);
    },
    async stop() {
      control.destroy();
      process.off('exit', kill);
      kill();
      await exited;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** @typedef {Awaited<ReturnType<typeof startRedis>>} Redis */
