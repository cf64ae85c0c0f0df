// Uses the tarball in projects that the real `nest new` makes, with each builder of the CLI, in a monorepo, and with pnpm. Each
// application is built, tested as the CLI configured it, started, and asked for a stream, for events after an id, and for the console.
//
//   node .ci/generated-projects.mjs <tarball> [11 | 12-esm | 12-cjs | 11-pnpm | 12-pnpm]…
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, realpathSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { connect } from '../dist/client/index.js';
import { ANSWERS, blocksOf, freePort, Project } from './project.mjs';

const SWC = ['@swc/cli', '@swc/core'];
const RSPACK = ['@rspack/core', 'webpack-node-externals', 'tsconfig-paths-webpack-plugin'];
const LIMIT_MS = 60_000;
const LIBRARY = 'libs/live/src/live.module.ts';

/** The configuration that the guide shows for a bundle that contains all packages. */
const WHOLE_BUNDLE = blocksOf('deploying').find(({ file }) => file === 'webpack.config.js').text;
const WHOLE_CONFIG = 'whole.config.js';

const PROJECTS = {
  11: {
    nest: 11,
    system: 'CommonJS',
    tools: SWC,
    builds: [
      'nest build',
      'nest build -b swc',
      'nest build --webpack',
      `nest build --webpack --webpackPath ${WHOLE_CONFIG}`,
    ],
    monorepo: true,
  },
  '12-esm': {
    nest: 12,
    system: 'ESM',
    tools: [...SWC, ...RSPACK],
    builds: ['nest build', 'nest build -b swc', 'nest build -b rspack'],
  },
  '12-cjs': { nest: 12, system: 'CommonJS', tools: SWC, builds: ['nest build', 'nest build -b swc'] },
  '11-pnpm': { nest: 11, system: 'CommonJS', tools: [], builds: ['nest build'], pnpm: true },
  '12-pnpm': { nest: 12, system: 'ESM', tools: [], builds: ['nest build'], pnpm: true },
};

const [tarball, ...only] = process.argv.slice(2);
const names = only.length > 0 ? only : Object.keys(PROJECTS);
if (!tarball || names.some((name) => !(name in PROJECTS))) {
  throw new Error(`Usage: node .ci/generated-projects.mjs <tarball> [${Object.keys(PROJECTS).join(' | ')}]…`);
}

/** The module of the quick start, with the console. */
const withConsole = (text) =>
  text
    .replace(
      /^(import .* from 'nestjs-streaming';)$/m,
      "$1\nimport { StreamingConsoleModule } from 'nestjs-streaming/console';",
    )
    .replace(/registerHub\(.*?\)/, "$&, StreamingConsoleModule.forRoot({ path: 'console', development: true })");

class Generated extends Project {
  get project() {
    return PROJECTS[this.name];
  }

  async timed(title, task) {
    const began = Date.now();
    await task();
    this.say(`${title}: ${((Date.now() - began) / 1000).toFixed(1)} s`);
  }

  write(file, text) {
    mkdirSync(dirname(join(this.cwd, file)), { recursive: true });
    writeFileSync(join(this.cwd, file), text);
  }

  edit(file, change) {
    const before = readFileSync(join(this.cwd, file), 'utf8');
    const after = change(before);
    assert.notEqual(after, before, `${file} is not as expected`);
    this.write(file, after);
  }

  /** Makes the project, and pastes the quick start with the console. */
  async make() {
    const { nest, system } = this.project;
    const flags = nest === 12 ? '--no-observe' : '';
    const answers = nest === 12 ? ANSWERS[system] : [];
    await this.run(
      `npx --yes @nestjs/cli@${nest} new feed --package-manager npm --skip-install --skip-git ${flags}`,
      answers,
    );
    this.cwd = join(this.cwd, 'feed');
    for (const file of ['src/app.controller.ts', 'src/app.service.ts', 'src/app.controller.spec.ts']) {
      rmSync(join(this.cwd, file));
    }
    for (const { file, system: own, text } of blocksOf('quick-start')) {
      if (file !== undefined && (own ?? system) === system) this.write(file, text);
    }
    this.edit('src/app.module.ts', withConsole);
    this.write(WHOLE_CONFIG, WHOLE_BUNDLE);
  }

  async install() {
    const packages = [resolve(tarball), ...this.project.tools].join(' ');
    if (!this.project.pnpm) {
      await this.run(`npm install --no-audit --no-fund --prefer-offline ${packages}`);
      return;
    }
    // Strict: a package finds only what it declares, because nothing is hoisted.
    this.write('pnpm-workspace.yaml', 'nodeLinker: isolated\nhoist: false\nstrictDepBuilds: false\n');
    await this.run(`npx --yes pnpm@10 add --prefer-offline ${packages}`);
    const installed = realpathSync(join(this.cwd, 'node_modules/nestjs-streaming/package.json'));
    const { resolve: find } = createRequire(installed);
    for (const optional of ['ws', '@nestjs/swagger', '@opentelemetry/api', 'fast-check']) {
      assert.throws(() => find(optional), { code: 'MODULE_NOT_FOUND' }, `${optional} is installed`);
    }
  }

  async all() {
    await this.timed('nest new', () => this.make());
    await this.timed('install', () => this.install());
    await this.timed('npm test', () => this.run('npm test'));
    for (const build of this.project.builds) await this.timed(build, () => this.buildAndAsk(build, 'dist/main.js'));
    if (this.project.monorepo) await this.timed('monorepo', () => this.monorepo());
  }

  async buildAndAsk(build, main) {
    rmSync(join(this.cwd, 'dist'), { recursive: true, force: true });
    await this.run(`npx ${build}`);
    if (build.endsWith(WHOLE_CONFIG)) await this.withoutPackages(() => this.ask(main));
    else await this.ask(main);
  }

  async withoutPackages(task) {
    const packages = join(this.cwd, 'node_modules');
    renameSync(packages, `${packages}-away`);
    await task();
    renameSync(`${packages}-away`, packages);
  }

  /** Starts an application, and asks for what the quick start promises. */
  async ask(main) {
    this.starting = `exec node --enable-source-maps ${main}`;
    await this.start();
    try {
      assert.equal(await (await this.fetch('/feed/numbers/2')).text(), '{"i":1}\n{"i":2}\n');
      const publish = async (eur) => {
        const headers = { 'Content-Type': 'application/json' };
        const response = await this.fetch('/feed/prices', { method: 'POST', headers, body: JSON.stringify({ eur }) });
        return (await response.text()).trim();
      };
      const first = await publish(1);
      const second = await publish(2);
      const missed = connect(`http://localhost:${this.port}/feed/prices`, {
        resume: { get: () => first, set: () => undefined },
        signal: AbortSignal.timeout(LIMIT_MS),
      });
      assert.deepEqual((await missed.next()).value, { id: second, type: undefined, data: { eur: 2 } });
      missed.close();
      const page = await (await this.fetch('/console')).text();
      assert.match(page, /<title>Streams · nestjs-streaming<\/title>.*\/events\?/s);
    } finally {
      await this.stop();
    }
  }

  async fetch(path, options) {
    const response = await fetch(`http://localhost:${this.port}${path}`, {
      ...options,
      signal: AbortSignal.timeout(LIMIT_MS),
    });
    assert.ok(response.ok, `${path}: ${response.status}`);
    return response;
  }

  /** Two applications that share a library, which has the hub and its routes. */
  async monorepo() {
    await this.run('npx nest generate app second');
    // `nest generate library` asks for the prefix, and then runs this.
    await this.run(
      'npx schematics @nestjs/schematics:library --name=live --prefix=@app --no-dry-run --source-root=apps/feed/src',
    );
    const controller = readFileSync(join(this.cwd, 'apps/feed/src/feed.controller.ts'), 'utf8');
    this.write('libs/live/src/feed.controller.ts', controller);
    rmSync(join(this.cwd, 'apps/feed/src/feed.controller.ts'));
    this.write(
      LIBRARY,
      `import { Module } from '@nestjs/common';
import { StreamingModule } from 'nestjs-streaming';
import { FeedController } from './feed.controller';
import { LiveService } from './live.service';

@Module({
  imports: [StreamingModule.registerHub({ name: 'prices' })],
  controllers: [FeedController],
  providers: [LiveService],
  exports: [LiveService],
})
export class LiveModule {}
`,
    );
    const appModule = (name) => `import { Module } from '@nestjs/common';
import { LiveModule } from '@app/live';
import { StreamingModule } from 'nestjs-streaming';
import { StreamingConsoleModule } from 'nestjs-streaming/console';

@Module({
  imports: [StreamingModule.forRoot(), StreamingConsoleModule.forRoot({ path: 'console', development: true }), LiveModule],
})
export class ${name} {}
`;
    this.write('apps/feed/src/app.module.ts', appModule('AppModule'));
    this.write('apps/second/src/second.module.ts', appModule('SecondModule'));
    for (const part of ['controller.spec', 'controller', 'service']) {
      rmSync(join(this.cwd, `apps/second/src/second.${part}.ts`));
    }
    this.edit('apps/second/src/main.ts', (text) => text.replace(/process\.env\.port/, 'process.env.PORT'));
    await this.run('npm test');
    await this.run('npx nest build feed && npx nest build second');
    await this.ask('dist/apps/feed/main.js');
    await this.ask('dist/apps/second/main.js');
  }
}

async function check(name) {
  const began = Date.now();
  const directory = mkdtempSync(join(tmpdir(), 'generated-'));
  const generated = new Generated(name, directory, await freePort());
  try {
    await generated.all();
  } finally {
    await generated.stop();
    rmSync(directory, { recursive: true, force: true });
  }
  generated.say(`passed in ${Math.round((Date.now() - began) / 1000)} s`);
}

// Two at a time: a build uses more than one core.
const open = [...names];
const failed = [];
async function work() {
  for (let name = open.shift(); name !== undefined; name = open.shift()) {
    await check(name).catch((error) => failed.push(`${name}: ${error.stack}`));
  }
}
await Promise.all([work(), work()]);
if (failed.length > 0) {
  console.error(failed.join('\n\n'));
  process.exitCode = 1;
}
