import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * One block of code in README.md or docs/. Every ```ts block is type-checked against lib/. A block may leave code out:
 * that code stands in an invisible comment above it, `<!-- prelude: … -->`. The block replaces `{{block}}` in the
 * prelude, or follows it.
 *
 * A ```ts run block is an application, or its controllers. The blocks after it are about that application:
 * ```text with commands (`$ curl …`) and their output, ```ts client with the code of a client, and ```text with the
 * output of that code. A line `…` stands for any number of lines. After `# log`: the output of the application.
 * A ```ts test block is the body of a test, which passes when it throws nothing.
 * Ids of hub events differ in every run: ids in a command are taken from the output of the commands before it.
 */
export interface Block {
  readonly file: string;
  readonly line: number;
  readonly language: string;
  readonly role: string;
  readonly text: string;
  readonly prelude: string;
}

export const ROOT = join(dirname(fileURLToPath(import.meta.url)), '../..');
export const FILES = ['README.md', ...readdirSync(join(ROOT, 'docs')).map((name) => `docs/${name}`)].filter((file) =>
  file.endsWith('.md'),
);
/** The entry points of the package. */
export const PACKAGE: Record<string, string> = {
  'nestjs-streaming': 'lib/index',
  'nestjs-streaming/console': 'lib/console/index',
  'nestjs-streaming/testing': 'lib/testing/index',
};
const FENCE = /(?:<!-- prelude:\s((?:(?!-->)[\s\S])*)-->\s*)?^```(\w+)(?: (\w+))?\n([\s\S]*?)^```$/gm;
const HERE = '{{block}}';

function blocksOf(file: string): Block[] {
  const text = readFileSync(join(ROOT, file), 'utf8');
  return [...text.matchAll(FENCE)].map((match) => {
    const [whole, prelude = '', language = '', role = '', body = ''] = match;
    const bodyAt = match.index + whole.length - '```'.length - body.length;
    return { file, line: text.slice(0, bodyAt).split('\n').length, language, role, text: body, prelude };
  });
}

/** The block in its surroundings, and the line it starts at there. */
export function moduleOf({ prelude, text }: Block): { readonly code: string; readonly offset: number } {
  const [before = '', after = ''] = prelude.includes(HERE) ? prelude.split(HERE) : [`${prelude}\n`, ''];
  return { code: `${before}${text}${after}\nexport {};\n`, offset: before.split('\n').length - 1 };
}

export const blocks = FILES.flatMap(blocksOf);
