import { dirname, join } from 'node:path';
import ts from 'typescript';
import { PACKAGE, ROOT } from './documentation.js';

/** The options of this repository, for examples, which may have parameters that they do not use, and for code that may run in browsers too. */
function compilerOptions(): ts.CompilerOptions {
  const config = ts.readConfigFile(join(ROOT, 'tsconfig.json'), ts.sys.readFile);
  const { options } = ts.parseJsonConfigFileContent(config.config, ts.sys, ROOT);
  return {
    ...options,
    lib: [...(options.lib ?? []), 'lib.dom.d.ts', 'lib.dom.iterable.d.ts'],
    noUnusedLocals: false,
    noUnusedParameters: false,
    paths: Object.fromEntries(Object.entries(PACKAGE).map(([name, path]) => [name, [join(ROOT, `${path}.ts`)]])),
  };
}

/**
 * Compiles files that do not exist, by their path in this repository. Their packages are those of this repository.
 * @param others files that exist
 */
export function compile(
  files: Readonly<Record<string, string>>,
  options: ts.CompilerOptions = {},
  others: readonly string[] = [],
): ts.Program {
  const all = { ...compilerOptions(), ...options };
  const host = ts.createCompilerHost(all);
  const { getSourceFile, fileExists, readFile, directoryExists } = host;
  const folders = Object.keys(files).map((name) => dirname(name));
  host.fileExists = (name) => files[name] !== undefined || fileExists.call(host, name);
  host.readFile = (name) => files[name] ?? readFile.call(host, name);
  host.directoryExists = (name) =>
    folders.some((folder) => folder.startsWith(name)) || directoryExists?.call(host, name) !== false;
  host.getSourceFile = (name, target, ...rest) => {
    const text = files[name];
    return text === undefined
      ? getSourceFile.call(host, name, target, ...rest)
      : ts.createSourceFile(name, text, target, true);
  };
  const modules = Object.keys(files).filter((name) => /\.tsx?$/.test(name));
  return ts.createProgram([...modules, ...others], all, host);
}

export interface CompilerError {
  /** Counts from 0. */
  readonly line: number;
  readonly message: string;
}

/** The errors of the compiler in one file. */
export function errorsIn(program: ts.Program, name: string): CompilerError[] {
  const source = program.getSourceFile(name);
  return [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)].map(
    ({ start = 0, messageText }) => ({
      line: source?.getLineAndCharacterOfPosition(start).line ?? 0,
      message: ts.flattenDiagnosticMessageText(messageText, '\n'),
    }),
  );
}
