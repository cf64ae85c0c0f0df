// Follows docs/quick-start.md word by word in projects that the real `nest new` makes: runs its commands, writes its files, and
// compares what its commands print with what the page says. The tarball takes the place of the published package. Then it does
// the same with the guides to the most common tasks, in the same project.
//
//   node .ci/quick-start.mjs <tarball> [11 | 12-esm | 12-cjs]…
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { setTimeout } from 'node:timers/promises';

const GUIDES = ['live-board', 'llm-tokens', 'exports', 'jwt', 'several-processes'];
/**
 * The projects: the version of Nest, the module system of the page's blocks, the guides that are followed, and how the
 * question of the CLI is answered: a key for each text that it shows.
 */
const PROJECTS = {
  11: { nest: 11, system: 'CommonJS', guides: GUIDES, answers: [] },
  '12-esm': { nest: 12, system: 'ESM', guides: GUIDES, answers: [['Which module system', '\r']] },
  '12-cjs': {
    nest: 12,
    system: 'CommonJS',
    guides: [],
    answers: [
      ['Which module system', '\x1b[B'],
      ['❯ CJS', '\r'],
    ],
  },
};
const STARTED = 'Nest application successfully started';
const COMMAND_LIMIT_MS = 240_000;

const [tarball, ...only] = process.argv.slice(2);
const names = only.length > 0 ? only : Object.keys(PROJECTS);
if (!tarball || names.some((name) => !(name in PROJECTS))) {
  throw new Error('Usage: node .ci/quick-start.mjs <tarball> [11 | 12-esm | 12-cjs]…');
}
const BLOCK = /(?:^`([\w./-]+)`(?: \((ESM|CommonJS)\))?\n\n)?^```(\w+)[^\n]*\n([\s\S]*?)^```$/gm;

/** The blocks of a page. */
function blocksOf(name) {
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

function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  return once(server, 'listening').then(() => {
    const { port } = server.address();
    return new Promise((done) => server.close(() => done(port)));
  });
}

function accepts(port) {
  return new Promise((done) => {
    const socket = connect(port, 'localhost');
    socket.once('connect', () => done(true)).once('error', () => done(false));
    socket.once('connect', () => socket.destroy());
  });
}

/** What is printed, as it is compared: the middle of an id is drawn anew, and the wording of curl's errors changes. */
const comparable = (text) =>
  text
    .replaceAll('\r', '')
    .trimEnd()
    .replace(/(?<![\w-])([\w-]{4}\.)[0-9a-f]{10}(\.[0-9a-z]+)/g, '$1~$2')
    .replace(/^(curl: \(\d+\)).*$/gm, '$1');

/** One reader of the page, in one project. */
class Reader {
  server;

  constructor(name, directory, port) {
    this.name = name;
    this.project = PROJECTS[name];
    this.cwd = directory;
    this.port = port;
    const { CI, ...env } = process.env; // where CI is set, `nest new` asks nothing
    this.env = { ...env, PORT: String(port), NO_COLOR: '1' };
  }

  say(line) {
    console.log(`quick start ${this.name}: ${line}`);
  }

  async follow(name) {
    const { system: own } = this.project;
    for (const { file, system, language, text } of blocksOf(name)) {
      if (file !== undefined && (system ?? own) === own) {
        mkdirSync(dirname(join(this.cwd, file)), { recursive: true });
        writeFileSync(join(this.cwd, file), this.inProject(text));
      } else if (file === undefined && language === 'sh') {
        for (const command of text.trimEnd().split('\n')) await this.type(command);
      } else if (file === undefined && language === 'text') {
        await this.session(text);
      }
    }
  }

  /** Follows a guide, which begins with a project without controllers of its own. */
  async followGuide(name) {
    const lacking = blocksOf(name)
      .flatMap(({ text }) => [...text.matchAll(/ from '(node:.+?)';$/gm)])
      .find(([, module]) => !isBuiltin(module));
    if (lacking) {
      this.say(`skipped ${name}: Node.js ${process.version} has no ${lacking[1]}`);
      return;
    }
    await this.stop();
    for (const folder of ['src', 'public', 'web', 'dist'])
      rmSync(join(this.cwd, folder), { recursive: true, force: true });
    this.say(`docs/${name}.md`);
    await this.follow(name);
  }

  /** A file as readers paste it: in a CommonJS project, without the `.js` of relative imports. */
  inProject(text) {
    return this.project.system === 'ESM' ? text : text.replace(/(from '\.{1,2}\/.*)\.js(?=';$)/gm, '$1');
  }

  async type(command) {
    const [, nest] = /^npx @nestjs\/cli@(\d+) new/.exec(command) ?? [];
    if (nest !== undefined && Number(nest) !== this.project.nest) return;
    this.say(`$ ${command}`);
    const [, folder] = /^cd (\S+)$/.exec(command) ?? [];
    if (folder !== undefined) {
      this.cwd = join(this.cwd, folder);
    } else if (/^npm (run )?start/.test(command)) {
      this.starting = command;
      await this.start();
    } else {
      const own = command
        .replace(/^(npm install )nestjs-streaming$/, `$1${resolve(tarball)}`)
        .replace(/^(npm install @nestjs\/jwt)$/, `$1@${this.project.nest}`)
        .replace(/^npx /, 'npx --yes ');
      const answers = nest === undefined ? [] : this.project.answers;
      await run(own, { cwd: this.cwd, env: this.env, answers });
    }
  }

  async session(text) {
    for (const step of text.split(/^(?=\$ |# restart$)/m)) {
      const [line, ...expected] = step.split('\n');
      if (!/^(\$ |# restart$)/.test(line)) continue; // the output of a client
      this.say(line);
      if (line === '# restart') {
        await this.stop();
        await this.start();
        continue;
      }
      const command = line
        .slice(2)
        .replace('curl ', 'curl --silent --show-error ')
        .replaceAll(':3000', `:${this.port}`);
      const printed = await run(command, { cwd: this.cwd, env: this.env });
      if (comparable(printed) !== comparable(expected.join('\n'))) {
        throw new Error(`${line}\nprinted\n${printed}\ninstead of\n${expected.join('\n')}`);
      }
    }
  }

  /** Starts the application, and waits until it listens. */
  async start() {
    this.server = spawn('sh', ['-c', this.starting], { cwd: this.cwd, env: this.env, detached: true });
    let log = '';
    await new Promise((done, fail) => {
      this.server.once('exit', (code) => fail(new Error(`${this.starting} ended with ${code}\n${log}`)));
      for (const output of [this.server.stdout, this.server.stderr]) {
        output.on('data', (text) => {
          log += text;
          if (log.includes(STARTED)) done();
        });
      }
    });
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

/** What the page of the quick start shows in a browser: a price, and after a restart that prices are lost. */
async function browse(reader) {
  const executablePath = '/usr/bin/chromium';
  if (!existsSync(executablePath)) {
    reader.say('skipped in the browser: there is no chromium');
    return;
  }
  const { chromium } = await import('playwright-core');
  const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] });
  try {
    const tab = await browser.newPage();
    await tab.goto(`http://127.0.0.1:${reader.port}/`);
    await fetch(`http://127.0.0.1:${reader.port}/feed/prices`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: '{"eur":7}',
    });
    await tab.getByText('7 EUR').waitFor();
    await reader.stop();
    await reader.start();
    await tab.getByText('some prices are lost').waitFor();
    reader.say('in the browser: a price, and after a restart a reset');
  } finally {
    await browser.close();
  }
}

async function quickStart(name) {
  const began = Date.now();
  const directory = mkdtempSync(join(tmpdir(), 'quick-start-'));
  const reader = new Reader(name, directory, await freePort());
  try {
    await reader.follow('quick-start');
    await browse(reader);
    for (const guide of reader.project.guides) await reader.followGuide(guide);
  } finally {
    await reader.stop();
    rmSync(directory, { recursive: true, force: true });
  }
  reader.say(`passed in ${Math.round((Date.now() - began) / 1000)} s`);
}

// All at once: most of the time passes while npm waits for the network and the disk.
const results = await Promise.allSettled(names.map(quickStart));
const failed = results.flatMap(({ reason }, at) => (reason === undefined ? [] : [`${names[at]}: ${reason.stack}`]));
if (failed.length > 0) {
  console.error(failed.join('\n\n'));
  process.exitCode = 1;
}
