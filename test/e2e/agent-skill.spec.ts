import { readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { ROOT, SKILL } from '../support/documentation.js';

const read = (file: string) => readFileSync(join(ROOT, file), 'utf8');
const skill = read(SKILL);

/** The fields above the text of the skill. */
function frontmatter(): Record<string, string | undefined> {
  const [, header = ''] = /^---\n([\s\S]*?)\n---\n/.exec(skill) ?? [];
  return Object.fromEntries([...header.matchAll(/^([\w-]+): (.*)$/gm)].map(([, name, value]) => [name, value]));
}

/** The codes of errors in the first columns of the tables of a document. */
function codesIn(text: string): string[] {
  const cells = [...text.matchAll(/^\| (`[a-z-]+`.*?) \|/gm)].map(([, cell = '']) => cell);
  return cells.flatMap((cell) => [...cell.matchAll(/`([a-z]+(?:-[a-z]+)+)`/g)].map(([, code = '']) => code));
}

// https://agentskills.io/specification
it('the skill has a name and a description with which coding agents find it, and is short enough for them to read', () => {
  const { name, description = '' } = frontmatter();
  expect(name).toBe(basename(dirname(SKILL)));
  expect(description).toMatch(/ Use it to /);
  expect(description.length).toBeLessThanOrEqual(1024);
  expect(description).not.toContain(': '); // YAML would read a field
  expect(skill.split('\n').length).toBeLessThanOrEqual(500);
});

it('the package contains the skill', () => {
  const { files } = JSON.parse(read('package.json')) as { files: string[] };
  expect(files).toContain('skills');
});

it('every error code in the skill is in the list of error codes', () => {
  const listed = new Set(codesIn(read('docs/error-codes.md')));
  const codes = codesIn(skill.slice(skill.indexOf('## Look up an error code')));
  expect(codes.length).toBeGreaterThan(10);
  expect(codes.filter((code) => !listed.has(code))).toEqual([]);
});
