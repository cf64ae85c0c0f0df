import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

/** The timeout of everything in this file, unless another one is given. */
const TIMEOUT_MS = 60_000;

/** @type {Set<Worker>} */
const running = new Set();

process.on('exit', () => {
  for (const worker of running) {
    worker.kill();
  }
});
for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP'])) {
  process.on(signal, () => process.exit(1));
}

/** A process of the benchmark that answers one question at a time. It ends when this process ends, for any reason. */
export class Worker {
  #child;
  #name;

  /**
   * @param {string} script
   * @param {string[]} [args]
   * @param {readonly string[]} [flags] of Node.js
   */
  constructor(script, args = [], flags = []) {
    this.#name = [script, ...args].join(' ');
    this.#child = fork(fileURLToPath(new URL(script, import.meta.url)), args, {
      execArgv: ['--expose-gc', ...flags],
    });
    running.add(this);
  }

  /** Resolves to the next message of the process. */
  async nextMessage(timeoutMs = TIMEOUT_MS) {
    const timeout = AbortSignal.timeout(timeoutMs);
    const ended = new AbortController();
    const signal = AbortSignal.any([timeout, ended.signal]);
    const onExit = () => ended.abort();
    this.#child.once('exit', onExit);
    try {
      const [message] = await once(this.#child, 'message', { signal });
      if (message.error) {
        throw new Error(`${this.#name}: ${message.error}`);
      }
      return message;
    } catch (error) {
      if (signal.aborted) {
        throw new Error(`${this.#name}: ${timeout.aborted ? 'took too long' : 'has ended'}`);
      }
      throw error;
    } finally {
      this.#child.off('exit', onExit);
    }
  }

  /**
   * @param {object} question
   * @param {number} [timeoutMs]
   */
  ask(question, timeoutMs) {
    const answer = this.nextMessage(timeoutMs);
    this.#child.send(question);
    return answer;
  }

  /** Ends the process without notice, unless it has started a process itself. */
  kill() {
    running.delete(this);
    this.#child.kill();
  }

  /** Ends the process. Resolves when it has ended. */
  async end() {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const exit = once(this.#child, 'exit');
      this.kill();
      await exit;
    }
    running.delete(this);
  }
}

/** The load generator, which all contestants share. */
export async function startLoad() {
  const load = new Worker('load.mjs');
  await load.nextMessage();
  return load;
}

/** @param {readonly [file: string, name: string]} server what `servers/<file>.mjs` exports under that name */
export async function startServer(server) {
  const worker = new Worker('server.mjs', [...server]);
  const { port } = await worker.nextMessage();
  return { worker, port };
}
