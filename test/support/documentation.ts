import { readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * One block of code in README.md, docs/ or the skill for coding agents. Every ```ts block is a whole module: what it needs is visible in it, so that
 * readers can paste it. There are no hidden parts.
 *
 * A line such as `src/app.module.ts` directly above a block, in backticks, is the name of its file. The named blocks of
 * a document are the files of one project, and the other blocks lie in `src/` of that project. Relative imports end in
 * `.js`, as in ESM; the checks leave that ending out for CommonJS. Where the two differ in more, the name is followed
 * by `(ESM)` or `(CommonJS)`.
 *
 * A ```ts run block is an application, or its controllers. The blocks after it are about that application:
 * ```text with commands (`$ curl …`) and their output, ```ts client with the code of a client, and ```text with the
 * output of that code. A line `…` stands for any number of lines. After `# log`: the output of the application.
 * Between commands, `# restart` restarts the application. A block whose name ends in `.spec.ts` is a test file for Jest
 * or Vitest.
 * Ids of hub events differ in every run: ids in a command are taken from the output of the commands before it.
 */
export interface Block {
  readonly file: string;
  readonly line: number;
  readonly language: string;
  readonly role: string;
  readonly text: string;
  /** The path of the file that the block is, if the document names it. */
  readonly name?: string;
  readonly variant?: ModuleSystem;
}

export type ModuleSystem = 'ESM' | 'CommonJS';
export const MODULE_SYSTEMS: readonly ModuleSystem[] = ['ESM', 'CommonJS'];

export const ROOT = join(dirname(fileURLToPath(import.meta.url)), '../..');
/** The skill for coding agents, which the package contains. */
export const SKILL = 'skills/nestjs-streaming/SKILL.md';
export const FILES = ['README.md', SKILL, ...readdirSync(join(ROOT, 'docs')).map((name) => `docs/${name}`)].filter(
  (file) => file.endsWith('.md'),
);
/** The entry points of the package. */
export const PACKAGE: Record<string, string> = {
  'nestjs-streaming': 'lib/index',
  'nestjs-streaming/ai': 'lib/ai/index',
  'nestjs-streaming/broker': 'lib/broker/index',
  'nestjs-streaming/client': 'lib/client/index',
  'nestjs-streaming/client/shared': 'lib/client/shared/index',
  'nestjs-streaming/console': 'lib/console/index',
  'nestjs-streaming/express': 'lib/express/index',
  'nestjs-streaming/postgres': 'lib/postgres/index',
  'nestjs-streaming/react': 'lib/react/index',
  'nestjs-streaming/hey-api': 'lib/hey-api/index',
  'nestjs-streaming/nats': 'lib/nats/index',
  'nestjs-streaming/redis': 'lib/redis/index',
  'nestjs-streaming/testing': 'lib/testing/index',
  'nestjs-streaming/worker': 'lib/worker/index',
};
const FENCE = /(?:^`([\w./-]+)`(?: \((ESM|CommonJS)\))?\n\n)?^```(\w+)(?: (\w+))?\n([\s\S]*?)^```$/gm;

function blocksOf(file: string): Block[] {
  const text = readFileSync(join(ROOT, file), 'utf8');
  return [...text.matchAll(FENCE)].map((match) => {
    const [whole, name, variant, language = '', role = '', body = ''] = match;
    const bodyAt = match.index + whole.length - '```'.length - body.length;
    const line = text.slice(0, bodyAt).split('\n').length;
    return { file, line, language, role, text: body, name, variant: variant as ModuleSystem | undefined };
  });
}

export const blocks = FILES.flatMap(blocksOf);

/** Where the block lies in the project of its document. */
export function pathOf({ name, line }: Block): string {
  return name ?? `src/block-${line}.ts`;
}

/** The code of a block in a project of that module system. It is a module, even if it imports and exports nothing. */
export function moduleOf({ text }: Block, system: ModuleSystem): string {
  const code = system === 'ESM' ? text : text.replace(/(from '\.{1,2}\/.*)\.js(?=';$)/gm, '$1');
  return `${code}\nexport {};\n`;
}

/** The ```ts blocks of a document that a project of that module system has. Code of clients is always ESM. */
export function projectOf(file: string, system: ModuleSystem): Block[] {
  return blocks.filter(({ role, variant, ...block }) => {
    const only = role === 'client' ? 'ESM' : variant;
    return block.file === file && ['ts', 'tsx'].includes(block.language) && (only ?? system) === system;
  });
}

/** The named block that a relative import of another block means. */
export function importedBy(block: Block, specifier: string, system: ModuleSystem): Block | undefined {
  const path = normalize(join(dirname(pathOf(block)), specifier)).replace(/\.js$/, '');
  return projectOf(block.file, system).find(({ name }) => name === `${path}.ts` || name === `${path}.tsx`);
}

/** The name of a document, for folders. */
export function slugOf(file: string): string {
  return basename(file, '.md').toLowerCase();
}

/** The block of a document that has this name. */
export function blockNamed(file: string, name: string): Block {
  const found = blocks.find((block) => block.file === file && block.name === name);
  if (!found) {
    throw new Error(`${file} has no block ${name}`);
  }
  return found;
}
