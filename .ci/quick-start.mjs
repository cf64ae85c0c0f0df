// Follows docs/quick-start.md word by word in projects that the real `nest new` makes: runs its commands, writes its files, and
// compares what its commands print with what the page says. The tarball takes the place of the published package. Then it does
// the same with the guides to the most common tasks, in the same project.
//
//   node .ci/quick-start.mjs <tarball> [11 | 12-esm | 12-cjs]…
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { ANSWERS, blocksOf, freePort, Project, RedisServer } from './project.mjs';

const GUIDES = ['live-board', 'llm-tokens', 'exports', 'jwt', 'several-processes'];
/** The projects: the version of Nest, the module system of the page's blocks, and the guides that are followed. */
const PROJECTS = {
  11: { nest: 11, system: 'CommonJS', guides: GUIDES },
  '12-esm': { nest: 12, system: 'ESM', guides: GUIDES },
  '12-cjs': { nest: 12, system: 'CommonJS', guides: [] },
};

const [tarball, ...only] = process.argv.slice(2);
const names = only.length > 0 ? only : Object.keys(PROJECTS);
if (!tarball || names.some((name) => !(name in PROJECTS))) {
  throw new Error('Usage: node .ci/quick-start.mjs <tarball> [11 | 12-esm | 12-cjs]…');
}

/** What is printed, as it is compared: the middle of an id is drawn anew, and the wording of curl's errors changes. */
const comparable = (text) =>
  text
    .replaceAll('\r', '')
    .trimEnd()
    .replace(/(?<![\w-])([\w-]{4}\.)(?:[0-9a-f]{10}|\d{19})(\.[0-9a-z]+)/g, '$1~$2')
    .replace(/^(curl: \(\d+\)).*$/gm, '$1');

/** One reader of the page, in one project. */
class Reader extends Project {
  /** The second process, and others, by the port that the page names. */
  others = new Map();

  get project() {
    return PROJECTS[this.name];
  }

  say(line) {
    super.say(`quick start: ${line}`);
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
    if (blocksOf(name).some(({ text }) => text === 'redis-server\n') && !RedisServer.isInstalled()) {
      this.say(`skipped ${name}: there is no redis-server`);
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
    const [, port, starting] = /^PORT=(\d+) (npm (?:run )?start.*)$/.exec(command) ?? [];
    if (folder !== undefined) {
      this.cwd = join(this.cwd, folder);
    } else if (command === 'redis-server') {
      this.redis = await RedisServer.start();
      this.env.REDIS_URL = this.redis.url;
    } else if (port !== undefined) {
      const other = new Project(this.name, this.cwd, await freePort());
      this.others.set(port, other);
      Object.assign(other, { starting, env: { ...this.env, ...other.env } });
      await other.start();
    } else if (/^npm (run )?start/.test(command)) {
      this.starting = command;
      await this.start();
    } else {
      const own = command
        .replace(/^(npm install )nestjs-streaming$/, `$1${resolve(tarball)}`)
        .replace(/^(npm install @nestjs\/jwt)$/, `$1@${this.project.nest}`)
        .replace(/^npx /, 'npx --yes ');
      const answers = nest === '12' ? ANSWERS[this.project.system] : [];
      await this.run(own, answers);
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
      const ports = [['3000', this], ...this.others];
      const command = ports.reduce(
        (text, [port, project]) => text.replaceAll(`localhost:${port}`, `localhost:${project.port}`),
        line.slice(2).replace('curl ', 'curl --silent --show-error '),
      );
      const printed = await this.run(command);
      if (comparable(printed) !== comparable(expected.join('\n'))) {
        throw new Error(`${line}\nprinted\n${printed}\ninstead of\n${expected.join('\n')}`);
      }
    }
  }

  /** Stops all processes of the application. */
  async stop() {
    const others = [...this.others.values()];
    this.others.clear();
    await Promise.all([super.stop(), ...others.map((other) => other.stop())]);
  }
}

/** What the page of the quick start shows in a browser: a price, and after a restart that prices are lost. */
async function browse(reader) {
  const executablePath = ['/usr/bin/chromium-headless-shell', '/usr/bin/chromium'].find(existsSync);
  if (executablePath === undefined) {
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
    await reader.redis?.stop();
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
