import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import ts from 'typescript';
import { blocks, FILES, moduleOf, PACKAGE, ROOT } from '../support/documentation.js';

const codeBlocks = blocks.filter(({ language }) => language === 'ts');

/** What the compiler says of all blocks, each a module of its own beside the document it stands in. */
function typeErrors(): string[] {
  const config = ts.readConfigFile(join(ROOT, 'tsconfig.json'), ts.sys.readFile);
  const { options } = ts.parseJsonConfigFileContent(config.config, ts.sys, ROOT);
  Object.assign(options, {
    paths: Object.fromEntries(Object.entries(PACKAGE).map(([name, path]) => [name, [join(ROOT, `${path}.ts`)]])),
    // A snippet may show a parameter it does not use.
    noUnusedLocals: false,
    noUnusedParameters: false,
  });
  const modules = new Map(
    codeBlocks.map((block) => [join(ROOT, dirname(block.file), `${block.line}.${block.file.length}.ts`), block]),
  );
  const host = ts.createCompilerHost(options);
  const { getSourceFile, fileExists } = host;
  host.fileExists = (name) => modules.has(name) || fileExists.call(host, name);
  host.getSourceFile = (name, target, ...rest) => {
    const block = modules.get(name);
    return block
      ? ts.createSourceFile(name, moduleOf(block).code, target)
      : getSourceFile.call(host, name, target, ...rest);
  };
  const program = ts.createProgram([...modules.keys()], options, host);
  const problems = [...program.getOptionsDiagnostics(), ...program.getGlobalDiagnostics()];
  for (const name of modules.keys()) {
    const source = program.getSourceFile(name);
    problems.push(...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source));
  }
  return problems.map(({ file, start = 0, messageText }) => {
    const block = file && modules.get(file.fileName);
    const line = file ? file.getLineAndCharacterOfPosition(start).line : 0;
    const where = block
      ? `${block.file}:${block.line + line - moduleOf(block).offset}`
      : relative(ROOT, file?.fileName ?? '');
    return `${where}: ${ts.flattenDiagnosticMessageText(messageText, '\n')}`;
  });
}

it('every example of the documentation compiles', () => {
  expect(codeBlocks.length).toBeGreaterThan(0);
  expect(typeErrors()).toEqual([]);
}, 120_000);

/** The anchors GitHub gives to the headings of a document. */
function anchorsOf(path: string): string[] {
  const prose = readFileSync(path, 'utf8').replace(/^```[\s\S]*?^```$/gm, '');
  return [...prose.matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replace(/[^\w\- ]/g, '')
      .replaceAll(' ', '-'),
  );
}

it('every link within the repository leads somewhere', () => {
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
