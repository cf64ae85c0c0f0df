import { type ChildProcess, fork } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { createParser } from 'eventsource-parser';
import { APPEND } from '../../lib/redis/scripts.js';
import { freePort } from '../support/nginx.js';
import { realProcess } from '../support/real-process.js';
import type { RedisServer } from '../support/redis-server.js';
import { Program } from '../support/sample.js';
import type { Place } from './load.js';
import type { Received } from './sequence.js';

const HOOK = new URL('../support/typescript.mjs', import.meta.url).href;
/** Ends the process even if a test hangs. */
const LONGEST_MS = 240_000;

export type Environment = Readonly<Record<string, string>>;

/** A program of `app/` in a separate process. */
class AppProcess {
  output = '';
  protected child: ChildProcess | undefined;

  constructor(
    readonly name: string,
    private readonly file: string,
    private readonly env: Environment,
  ) {}

  get running(): ChildProcess {
    const { child } = this;
    if (child?.exitCode !== null || child.signalCode !== null) {
      throw Object.assign(new Error(`${this.name} does not run`), { code: 'ECONNREFUSED' });
    }
    return child;
  }

  /** Starts it, and waits until it listens. */
  async start(): Promise<this> {
    const child = fork(fileURLToPath(new URL(`app/${this.file}`, import.meta.url)), {
      env: { ...process.env, NO_COLOR: '1', ...this.env },
      execArgv: ['--no-warnings', '--import', HOOK],
      timeout: LONGEST_MS,
      killSignal: 'SIGKILL',
      silent: true,
    });
    const kill = (): void => void child.kill('SIGKILL');
    realProcess.once('exit', kill);
    child.once('exit', () => realProcess.off('exit', kill));
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.output += text;
      });
    }
    this.child = child;
    const over = once(child, 'exit').then(() =>
      Promise.reject(new Error(`${this.name} did not start: ${this.output}`)),
    );
    over.catch(() => undefined);
    await Promise.race([once(child, 'message'), over]);
    return this;
  }

  /** Ends it, if it runs, and waits for its end. Resolves to how it ended. */
  async end(signal: NodeJS.Signals): Promise<number | NodeJS.Signals | null> {
    const { child } = this;
    if (child && child.exitCode === null && child.signalCode === null) {
      const exited = once(child, 'exit');
      child.kill(signal);
      await exited;
    }
    return child?.exitCode ?? child?.signalCode ?? null;
  }
}

/** An application with HTTP. It keeps its port when it is started again. */
export class WebProcess extends AppProcess implements Place {
  private readonly agent = new Agent({ keepAlive: true });

  private constructor(
    name: string,
    readonly port: number,
    env: Environment,
  ) {
    super(name, 'main.ts', { ...env, PORT: String(port) });
  }

  static async start(name: string, env: Environment): Promise<WebProcess> {
    return new WebProcess(name, await freePort(), env).start();
  }

  async listen(
    after: string | undefined,
    onEvent: (event: Received) => void,
    signal: AbortSignal,
    topics?: readonly string[],
  ): Promise<void> {
    const resume: Record<string, string> = after === undefined ? {} : { 'Last-Event-ID': after };
    const path = topics === undefined ? '/feed' : `/board?topics=${topics.join()}`;
    const answer = await this.open(path, { Accept: 'text/event-stream', ...resume }, signal);
    const parser = createParser({
      onEvent: ({ id, event: type, data }) => {
        if (id !== undefined) {
          onEvent({ id, type, data: type === undefined ? data : JSON.parse(data) });
        }
      },
    });
    for await (const part of answer) {
      parser.feed(String(part));
    }
  }

  /** Reads the events as NDJSON, without ids. */
  async lines(onLine: (line: string) => void, signal: AbortSignal): Promise<void> {
    let rest = '';
    for await (const part of await this.open('/feed', { Accept: 'application/x-ndjson' }, signal)) {
      const lines = `${rest}${part}`.split('\n');
      rest = lines.pop() ?? '';
      lines.forEach(onLine);
    }
  }

  async publish(key: string, topic?: string): Promise<string> {
    const body = JSON.stringify({ key, topic });
    const headers = { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body) };
    const call = request({
      port: this.port,
      host: '127.0.0.1',
      path: topic === undefined ? '/feed' : '/board',
      method: 'POST',
      headers,
      agent: this.agent,
    });
    call.end(body);
    try {
      const [answer] = await once(call, 'response');
      const { id, ...problem } = JSON.parse(await text(answer));
      if (typeof id !== 'string') {
        // While it closes, Fastify itself answers with 503.
        const code = problem.statusCode === 503 ? 'broker-unavailable' : problem.code;
        throw Object.assign(new Error(`${this.name} answered ${JSON.stringify(problem)}`), { code });
      }
      return id;
    } catch (error) {
      throw withOutcome(error as Error & { readonly code?: string });
    }
  }

  override async end(signal: NodeJS.Signals): Promise<number | NodeJS.Signals | null> {
    this.agent.destroy();
    return super.end(signal);
  }

  private async open(
    path: string,
    headers: Record<string, string>,
    signal: AbortSignal,
  ): Promise<AsyncIterable<Buffer>> {
    const call = request({ port: this.port, host: '127.0.0.1', path, headers, signal, agent: false });
    call.end();
    const [answer] = await once(call, 'response');
    if (answer.statusCode !== 200) {
      answer.destroy();
      throw new Error(`${this.name} answered ${answer.statusCode}`);
    }
    return answer.setEncoding('utf8');
  }
}

/** A publisher without HTTP. */
export class PublisherProcess extends AppProcess {
  private readonly answers = new Map<string, (answer: Answer) => void>();

  static async start(name: string, env: Environment): Promise<PublisherProcess> {
    const publisher = await new PublisherProcess(name, 'publisher.ts', env).start();
    publisher.running.on('message', (answer: Answer) => publisher.answers.get(answer.key)?.(answer));
    publisher.running.once('exit', () => {
      for (const [key, resolve] of publisher.answers) {
        resolve({ key, code: 'publish-unknown' });
      }
    });
    return publisher;
  }

  async publish(key: string): Promise<string> {
    const answer = new Promise<Answer>((resolve) => this.answers.set(key, resolve));
    this.running.send(key);
    const { id, ...problem } = await answer;
    this.answers.delete(key);
    if (id === undefined) {
      throw Object.assign(new Error(`${this.name} answered ${JSON.stringify(problem)}`), problem);
    }
    return id;
  }
}

/** A publisher in Python. */
export class PythonPublisher {
  private readonly answers = new Map<string, (outcome: string) => void>();

  private constructor(
    readonly name: string,
    private readonly program: Program,
  ) {
    createInterface({ input: program.child.stdout as Readable }).on('line', (line) => {
      const [key = '', outcome = ''] = line.split(' ');
      this.answers.get(key)?.(outcome);
    });
  }

  /** @param folder where the script that the package contains is written to */
  static async start(name: string, { port, folder }: RedisServer): Promise<PythonPublisher> {
    const script = join(folder, 'append.lua');
    writeFileSync(script, APPEND.text);
    const source = fileURLToPath(new URL('app/publish.py', import.meta.url));
    const program = Program.start('python3', [source, String(port), script]);
    const publisher = new PythonPublisher(name, program);
    await program.until(/^ready$/m);
    return publisher;
  }

  async publish(key: string): Promise<string> {
    const answer = new Promise<string>((resolve) => this.answers.set(key, resolve));
    this.program.child.stdin?.write(`${key}\n`);
    const outcome = await answer;
    this.answers.delete(key);
    if (outcome === 'rejected' || outcome === 'unknown') {
      const code = outcome === 'rejected' ? 'broker-unavailable' : 'publish-unknown';
      throw Object.assign(new Error(`${this.name} could not publish ${key}`), { code });
    }
    return idOf(outcome);
  }

  async end(signal: NodeJS.Signals): Promise<void> {
    await this.program.stop(signal);
  }
}

/** Returns the id under which clients receive a record of the stream. */
function idOf(streamId: string): string {
  const [epoch, offset] = streamId.split('-');
  const tag = createHash('sha256').update('feed').digest('base64url').slice(0, 4);
  return `${tag}.${epoch}.${Number(offset).toString(36)}`;
}

interface Answer {
  readonly key: string;
  readonly id?: string;
  readonly code?: string;
}

/** A connection that was refused took nothing. One that was cut may have. */
function withOutcome(error: Error & { readonly code?: string }): Error {
  const { code } = error;
  if (code === 'ECONNREFUSED') {
    return Object.assign(error, { code: 'broker-unavailable' });
  }
  return code === 'ECONNRESET' || code === 'EPIPE' ? Object.assign(error, { code: 'publish-unknown' }) : error;
}
