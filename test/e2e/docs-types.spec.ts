import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import ts from 'typescript';
import { compile } from '../support/compile.js';
import {
  type Block,
  blocks,
  FILES,
  MODULE_SYSTEMS,
  type ModuleSystem,
  moduleOf,
  pathOf,
  projectOf,
  ROOT,
  slugOf,
} from '../support/documentation.js';

/** A folder that does not exist, in which the projects of all documents of one module system lie. */
const folderOf = (system: ModuleSystem) => join(ROOT, 'docs', `.${system}`);

/** Where a project of `nest new` has other options than this repository. */
const OPTIONS: ts.CompilerOptions = {
  // Every type that an example returns needs a name that the package exports.
  declaration: true,
  // Code of clients runs in browsers.
  jsx: ts.JsxEmit.ReactJSX,
  noUncheckedIndexedAccess: false,
  strictPropertyInitialization: false,
};

/** The errors of the compiler in all blocks, as files of projects of that module system. */
function typeErrors(system: ModuleSystem): string[] {
  const modules = new Map(
    FILES.flatMap((file) => projectOf(file, system)).map((block) => [
      join(folderOf(system), slugOf(block.file), pathOf(block)),
      block,
    ]),
  );
  // The types of Node.js 20, for which this repository is checked, lack this module.
  const sqlite = join(ROOT, 'node_modules/types-node-22/sqlite.d.ts');
  const files = Object.fromEntries([...modules].map(([name, block]) => [name, moduleOf(block, system)]));
  const manifest = join(folderOf(system), 'package.json');
  files[manifest] = JSON.stringify({ type: system === 'ESM' ? 'module' : 'commonjs' });
  const program = compile(files, OPTIONS, [sqlite]);
  const problems = [...program.getOptionsDiagnostics(), ...program.getGlobalDiagnostics()];
  for (const name of modules.keys()) {
    const source = program.getSourceFile(name);
    problems.push(...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source));
    problems.push(...program.getDeclarationDiagnostics(source));
  }
  return problems.map(({ file, start = 0, messageText }) => {
    const block = file && modules.get(file.fileName);
    const line = file ? file.getLineAndCharacterOfPosition(start).line : 0;
    const where = block ? `${block.file}:${block.line + line}` : relative(ROOT, file?.fileName ?? '');
    return `${where}: ${ts.flattenDiagnosticMessageText(messageText, '\n')}`;
  });
}

/** A document without its blocks. */
const proseOf = (path: string) => readFileSync(path, 'utf8').replace(/^```[\s\S]*?^```$/gm, '');

it.each(MODULE_SYSTEMS)(
  'every example of the documentation compiles as it stands, in a project with %s',
  (system) => {
    expect(blocks.filter(({ language }) => language === 'ts').length).toBeGreaterThan(0);
    expect(typeErrors(system)).toEqual([]);
  },
  120_000,
);

it('no document has a part that readers do not see', () => {
  const hidden = FILES.filter((file) => proseOf(join(ROOT, file)).includes('<!--'));
  expect(hidden).toEqual([]);
});

/** How a file is found that lies beside a module: in ESM, and in CommonJS. */
const BESIDE =
  /createRequire\(import\.meta\.url\)\('(.*?)'\)|require\(join\(__dirname, '(.*?)'\)\)|new URL\('\.\/(.*?)', import\.meta\.url\)|join\(__dirname, '(.*?)'\)/g;

it('a file that a document shows for both module systems differs only in the endings of imports, and in how the application is started, or another file is found', () => {
  const common = ({ text }: Block) =>
    text
      .replace(/(from '\.{1,2}\/.*)\.js(?=';$)/gm, '$1')
      .replace(/^await (?=bootstrap)/m, 'void ')
      .replace(/^import \{ (createRequire|join) \} from 'node:.*\n/gm, '')
      .replace(BESIDE, (_, ...paths: unknown[]) => String(paths.find((path) => path !== undefined)));
  const different = blocks.filter((block) => {
    const twin = blocks.find(
      ({ file, name, variant }) => file === block.file && name === block.name && variant === 'CommonJS',
    );
    return block.variant === 'ESM' && (twin === undefined || common(twin) !== common(block));
  });
  expect(different.map(({ file, name }) => `${file}: ${name}`)).toEqual([]);
});

/** The anchors GitHub gives to the headings of a document. */
function anchorsOf(path: string): string[] {
  return [...proseOf(path).matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replace(/[^\w\- ]/g, '')
      .replaceAll(' ', '-'),
  );
}

it('every link within the documentation leads to a file and a heading that exist', () => {
  const broken = FILES.flatMap((file) =>
    [...readFileSync(join(ROOT, file), 'utf8').matchAll(/\]\((?!https?:)([^)#\s]*)#?([^)\s]*)\)/g)]
      .filter(([, path = '', anchor = '']) => {
        const target = path === '' ? join(ROOT, file) : join(ROOT, dirname(file), path);
        return !existsSync(target) || (anchor !== '' && !anchorsOf(target).includes(anchor));
      })
      .map(([link]) => `${file}: ${link}`),
  );
  expect(broken).toEqual([]);
});
