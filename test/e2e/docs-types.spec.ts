import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import ts from 'typescript';
import {
  type Block,
  blocks,
  FILES,
  MODULE_SYSTEMS,
  type ModuleSystem,
  moduleOf,
  PACKAGE,
  pathOf,
  projectOf,
  ROOT,
  slugOf,
} from '../support/documentation.js';

/** A folder that does not exist, in which the projects of all documents of one module system lie. */
const folderOf = (system: ModuleSystem) => join(ROOT, 'docs', `.${system}`);

/** The options of this repository and, where `nest new` has others, of a generated project. */
function compilerOptions(): ts.CompilerOptions {
  const config = ts.readConfigFile(join(ROOT, 'tsconfig.json'), ts.sys.readFile);
  const { options } = ts.parseJsonConfigFileContent(config.config, ts.sys, ROOT);
  return {
    ...options,
    // A project of `nest new` has this, and then every type that an example returns needs a name that the package exports.
    declaration: true,
    // Code of clients runs in browsers.
    jsx: ts.JsxEmit.ReactJSX,
    lib: [...(options.lib ?? []), 'lib.dom.d.ts', 'lib.dom.iterable.d.ts'],
    paths: Object.fromEntries(Object.entries(PACKAGE).map(([name, path]) => [name, [join(ROOT, `${path}.ts`)]])),
    // An example may show a parameter that it does not use, and client code runs in browsers.
    noUnusedLocals: false,
    noUnusedParameters: false,
    noUncheckedIndexedAccess: false,
    strictPropertyInitialization: false,
  };
}

/** A compiler host that finds the blocks as files, next to a package.json with the module system. */
function hostOf(options: ts.CompilerOptions, modules: ReadonlyMap<string, Block>, system: ModuleSystem) {
  const host = ts.createCompilerHost(options);
  const { getSourceFile, fileExists, readFile, directoryExists } = host;
  const manifest = join(folderOf(system), 'package.json');
  host.fileExists = (name) => name === manifest || modules.has(name) || fileExists.call(host, name);
  host.readFile = (name) =>
    name === manifest ? JSON.stringify({ type: system === 'ESM' ? 'module' : 'commonjs' }) : readFile.call(host, name);
  host.directoryExists = (name) => name.startsWith(folderOf(system)) || directoryExists?.call(host, name) !== false;
  host.getSourceFile = (name, target, ...rest) => {
    const block = modules.get(name);
    return block
      ? ts.createSourceFile(name, moduleOf(block, system), target)
      : getSourceFile.call(host, name, target, ...rest);
  };
  return host;
}

/** The errors of the compiler in all blocks, as files of projects of that module system. */
function typeErrors(system: ModuleSystem): string[] {
  const options = compilerOptions();
  const modules = new Map(
    FILES.flatMap((file) => projectOf(file, system)).map((block) => [
      join(folderOf(system), slugOf(block.file), pathOf(block)),
      block,
    ]),
  );
  // The types of Node.js 20, for which this repository is checked, lack this module.
  const sqlite = join(ROOT, 'node_modules/types-node-22/sqlite.d.ts');
  const program = ts.createProgram([...modules.keys(), sqlite], options, hostOf(options, modules, system));
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

it('a file that a document shows for both module systems differs only in the endings of imports, and in how the application is started', () => {
  const common = ({ text }: Block) =>
    text.replace(/(from '\.{1,2}\/.*)\.js(?=';$)/gm, '$1').replace(/^await (?=bootstrap)/m, 'void ');
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
