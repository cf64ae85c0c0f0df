import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { createServer } from 'node:net';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { isInstalled as hasRedis, startRedis } from '../cluster/redis-server.mjs';

/** The stores of the scenario `brokers`, each in a process of its own on this machine. */

/**
 * @typedef {object} Store
 * @property {string} url
 * @property {() => Promise<number>} cpu the CPU time of its processes, in microseconds
 * @property {() => Promise<number>} memory what its data takes, in bytes
 * @property {() => Promise<void>} stop
 */

/** `/proc` counts CPU time in hundredths of a second. */
const TICK_US = 10_000;
const MOST_OUTPUT = 10_000;

/** A store that does not exist: that of the memory of a process. @type {() => Promise<Store>} */
const startNothing = async () => ({
  url: '',
  cpu: async () => 0,
  memory: async () => Number.NaN,
  stop: async () => undefined,
});

/** @param {readonly string[]} folders @param {string} name */
const programIn = (folders, name) => folders.map((folder) => join(folder, name)).find((path) => existsSync(path));

/** The newest first. */
const postgresFolders = () => {
  const base = '/usr/lib/postgresql';
  return existsSync(base)
    ? readdirSync(base)
        .sort()
        .reverse()
        .map((version) => join(base, version, 'bin'))
    : [];
};
const path = (process.env.PATH ?? '').split(':');
const postgres = programIn([...postgresFolders(), ...path], 'postgres');
/** Where the tests of the package install one. */
const tools = process.env.STREAMING_TOOLS ?? join(homedir(), '.cache/nestjs-streaming/bin');
const nats = programIn([tools, ...path, '/usr/sbin'], 'nats-server');

/** JetStream of older servers lacks what `NatsBroker` needs. */
function isNewNats() {
  const [, minor = '0'] = /v2\.(\d+)/.exec(nats ? execFileSync(nats, ['--version'], { encoding: 'utf8' }) : '') ?? [];
  return Number(minor) >= 10;
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  server.close();
  await once(server, 'close');
  return port;
}

/**
 * Starts a program, and waits for a text in its output. It ends with this process.
 * @param {string} program
 * @param {readonly string[]} args
 * @param {RegExp} ready
 * @param {{ uid?: number, gid?: number }} [user]
 */
async function launch(program, args, ready, user = {}) {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], ...user });
  const kill = () => child.kill('SIGKILL');
  process.on('exit', kill);
  let output = '';
  await new Promise((resolve, reject) => {
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text) => {
        output = (output + text).slice(-MOST_OUTPUT);
        if (ready.test(output)) {
          resolve(undefined);
        }
      });
    }
    child.once('error', reject);
    child.once('exit', () => reject(new Error(`${program} has ended:\n${output}`)));
  });
  return {
    pid: /** @type {number} */ (child.pid),
    async stop() {
      process.off('exit', kill);
      const exited = once(child, 'exit');
      // Postgres ends its processes when it is asked to end at once.
      child.kill('SIGQUIT');
      await exited;
    },
  };
}

/** The CPU time of a process and its children, also of those that have ended, in microseconds. @param {number} pid */
function cpuOf(pid) {
  let ticks = 0;
  for (const each of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const text = readFileSync(`/proc/${each}/stat`, 'latin1');
      const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
      const [parent, user, system, childUser, childSystem] = [1, 11, 12, 13, 14].map((at) => Number(fields[at]));
      ticks += Number(each) === pid ? user + system + childUser + childSystem : parent === pid ? user + system : 0;
    } catch {
      // The process has ended in the meantime.
    }
  }
  return ticks * TICK_US;
}

/** The size of all files in a folder. @param {string} folder @returns {number} */
const sizeOf = (folder) =>
  readdirSync(folder, { withFileTypes: true }).reduce((sum, entry) => {
    const file = join(folder, entry.name);
    return sum + (entry.isDirectory() ? sizeOf(file) : statSync(file).size);
  }, 0);

/** @type {() => Promise<Store>} */
async function startNats() {
  const folder = mkdtempSync(join(tmpdir(), 'bench-nats-'));
  const port = await freePort();
  const args = ['-js', '-sd', folder, '-a', '127.0.0.1', '-p', `${port}`];
  const { pid, stop } = await launch(/** @type {string} */ (nats), args, /Server is ready/);
  return {
    url: `nats://127.0.0.1:${port}`,
    cpu: async () => cpuOf(pid),
    memory: async () => sizeOf(folder),
    async stop() {
      await stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** The user who may run Postgres, if this process belongs to root. */
function postgresUser() {
  if (process.getuid?.() !== 0) {
    return {};
  }
  const id = (/** @type {string} */ flag) => Number(execFileSync('id', [flag, 'postgres'], { encoding: 'utf8' }));
  return { uid: id('-u'), gid: id('-g') };
}

/** @type {() => Promise<Store>} */
async function startPostgres() {
  const folder = mkdtempSync(join(tmpdir(), 'bench-postgres-'));
  const user = postgresUser();
  if (user.uid !== undefined) {
    chownSync(folder, user.uid, user.gid);
  }
  const program = /** @type {string} */ (postgres);
  const initdb = program.replace(/postgres$/, 'initdb');
  const options = ['-D', folder, '-A', 'trust', '-U', 'postgres', '-E', 'UTF8', '--locale', 'C'];
  execFileSync(initdb, options, { stdio: 'ignore', ...user });
  const port = await freePort();
  const args = ['-D', folder, '-p', `${port}`, '-k', '', '-c', 'listen_addresses=127.0.0.1'];
  const { pid, stop } = await launch(program, args, /ready to accept connections/, user);
  const url = `postgres://postgres@127.0.0.1:${port}/postgres`;
  const { Client } = (await import('pg')).default;
  const control = new Client(url);
  await control.connect();
  return {
    url,
    cpu: async () => cpuOf(pid),
    async memory() {
      const { rows } = await control.query('SELECT pg_database_size(current_database()) AS size');
      return Number(rows[0].size);
    },
    async stop() {
      await control.end();
      await stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** @type {Record<string, { start: () => Promise<Store>, isInstalled: boolean }>} */
export const STORES = {
  memory: { start: startNothing, isInstalled: true },
  redis: { start: startRedis, isInstalled: hasRedis },
  nats: { start: startNats, isInstalled: isNewNats() },
  postgres: { start: startPostgres, isInstalled: postgres !== undefined },
};
