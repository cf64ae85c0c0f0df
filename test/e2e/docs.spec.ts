import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PLATFORMS } from '../support/app.js';
import {
  Evaluation,
  evaluate,
  factoryOf,
  lackingModule,
  load,
  type RunningBlock,
  start,
  usesPackage,
} from '../support/document-app.js';
import { type Block, blocks } from '../support/documentation.js';
import { RedisServer } from '../support/redis-server.js';
import { describeWith, itWith, toolPath } from '../support/tools.js';

/** The id of an event of a hub, or of a chunk of a run. Its middle is a new random value at every start. */
const ID = /(?<![\w-])([\w-]{4}\.)([0-9a-f]{10}|[0-9a-f]{16}|\d{19})(\.[0-9a-z]+)/g;

/** The options that let curl behave as in a terminal: otherwise it shows its progress. */
const CURL = 'curl() { command curl --silent --show-error "$@"; }';

/** Resolves to the output of a command, errors last. */
function shell(command: string): Promise<string> {
  return new Promise((resolve) => {
    execFile('sh', ['-c', `${CURL}\n${command}`], (_error, stdout, stderr) => resolve(stdout + stderr));
  });
}

/** Lines in the form in which they are compared. `…` matches any lines, and the middle of an id matches any id. The wording of curl's errors depends on its version. */
function pattern(expected: string): RegExp {
  const lines = expected
    .trimEnd()
    .replaceAll(ID, '$1~$3')
    .split('\n')
    .map((line) => {
      if (line === '…') {
        return '(?:.*\\n)*?';
      }
      const [fixed = line] = /^curl: \(\d+\)/.exec(line) ?? [];
      const source = fixed.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
      return fixed === line ? `${source}\\n` : `${source}.*\\n`;
    });
  return new RegExp(`^${lines.join('')}$`, 'i');
}

function expectOutput(actual: string, expected: string): void {
  const printed = actual.replaceAll('\r', '').trimEnd();
  if (!pattern(expected).test(`${printed.replaceAll(ID, '$1~$3')}\n`)) {
    expect(printed).toBe(expected.trimEnd());
  }
}

/** The middle of the ids that the commands of an example have printed so far. */
interface KnownIds {
  epoch?: string;
}

/** Compares a block with the output of its commands, or else with the output of the client before it, and with the log of the application. */
async function compare(text: string, example: RunningBlock, client: readonly string[], ids: KnownIds): Promise<void> {
  const [session = '', log] = text.split(/^# log\n/m);
  const steps = session.split(/^(?=\$ |# restart$)/m);
  if (!/^(\$ |# restart$)/m.test(session)) {
    expectOutput(client.join('\n'), session);
    steps.shift();
  }
  for (const step of steps) {
    const [line = '', ...output] = step.split('\n');
    if (line === '# restart') {
      await example.restart();
      continue;
    }
    const command = ids.epoch === undefined ? line : line.replaceAll(ID, `$1${ids.epoch}$3`);
    const actual = await shell(command.slice('$ '.length).replaceAll('localhost:3000', `127.0.0.1:${example.port}`));
    expectOutput(actual, output.join('\n'));
    ids.epoch = [...actual.matchAll(ID)][0]?.[2] ?? ids.epoch;
  }
  if (log !== undefined) {
    expectOutput((await example.printed.count(log.trimEnd().split('\n').length)).join('\n'), log);
  }
}

/** Each runnable block, with the following blocks that belong to it: its output, its clients, and all commands before the next one. */
const sessions = blocks.flatMap((block, at) => {
  if (block.role !== 'run') {
    return [];
  }
  const rest = blocks.slice(at + 1);
  const next = rest.findIndex(({ file, role }) => file !== block.file || role === 'run');
  const own = next < 0 ? rest : rest.slice(0, next);
  const adjacent = own.findIndex(({ language, role }) => !(language === 'text' || role === 'client'));
  const steps = own.filter(
    ({ language, role, text }, index) =>
      adjacent < 0 ||
      index < adjacent ||
      role === 'client' ||
      (language === 'text' && (/^(\$|# restart$)/m.test(text) || own[index - 1]?.role === 'client')),
  );
  return [{ name: `${block.file}:${block.line}`, block, steps }];
});

/** Whether this version of Node.js can run a block. If not, the output says so: the gate of the quick start runs it on a newer one. */
function isRunnable(block: Block): boolean {
  const lacking = lackingModule(block);
  if (lacking !== undefined) {
    process.stderr.write(
      `SKIPPED, because Node.js ${process.version} has no ${lacking}: ${block.file}:${block.line}\n`,
    );
  }
  return lacking === undefined;
}

/** For the examples that read its address from the environment, like applications. */
let redis: RedisServer | undefined;

beforeAll(async () => {
  if (toolPath('redis-server') !== undefined) {
    redis = await RedisServer.start();
    process.env.REDIS_URL = redis.url;
  }
});

afterAll(async () => {
  delete process.env.REDIS_URL;
  await redis?.stop();
});

/** The folder for files of examples. They read it from the environment, like applications. */
let directory = '';

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'documents-'));
  process.env.LOG_DIRECTORY = directory;
});

afterEach(() => {
  delete process.env.LOG_DIRECTORY;
  rmSync(directory, { recursive: true });
});

describe.each(PLATFORMS)('%s: an example prints what the documentation shows', (platform) => {
  for (const { name, block, steps } of sessions.filter((session) => isRunnable(session.block))) {
    const run = async () => {
      expect(steps.length).toBeGreaterThan(0);
      const example = await start(block, platform);
      try {
        const ids: KnownIds = {};
        let client: string[] = [];
        for (const step of steps) {
          if (step.role === 'client') {
            client = [];
            await evaluate(step, (line) => client.push(line), {}, example.port);
          } else {
            await compare(step.text, example, client, ids);
          }
        }
      } finally {
        await example.close();
      }
    };
    itWith('curl')(name, run, 60_000);
  }
});

// The files are loaded first, because tests cannot be declared asynchronously.
const testFiles = await Promise.all(
  blocks
    .filter(({ language, name, variant }) => language === 'ts' && name?.endsWith('.spec.ts') && variant !== 'CommonJS')
    .filter(isRunnable)
    .map((block) => load(block)),
);

describe.each(PLATFORMS)('%s: test files in the documentation pass', (platform) => {
  for (const file of testFiles) {
    const describeFile = usesPackage(file, 'nestjs-streaming/redis') ? describeWith('redis-server') : describe;
    describeFile(`${file.block.file}: ${file.block.name}`, () => {
      new Evaluation(() => undefined, factoryOf(platform).replaced).require(file);
    });
  }
});
