// Prints what lib/ measures: `npm run scorecard`. Lint holds the limits; this shows how far from them the whole is.
import { readFileSync } from 'node:fs';
import { dirname, relative } from 'node:path';
import ts from 'typescript';
import { exportedNames } from './exported-names.mjs';

const LIMITS = { function: 40, names: 60 };
const config = ts.readConfigFile('tsconfig.build.json', ts.sys.readFile).config;
const { fileNames, options } = ts.parseJsonConfigFileContent(config, ts.sys, process.cwd());
const program = ts.createProgram(fileNames, options);
const sources = program.getSourceFiles().filter(({ fileName }) => fileNames.includes(fileName));

const median = (numbers) => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)];
const largest = (items) => items.reduce((a, b) => (b.lines > a.lines ? b : a));
const nameOf = (source) => relative('.', source.fileName);

function linesOf(node, source) {
  const lineOf = (position) => source.getLineAndCharacterOfPosition(position).line;
  return lineOf(node.getEnd()) - lineOf(node.getStart(source)) + 1;
}

/** Functions with a body, `any` and `x!` in one file. */
function read(source) {
  const found = { functions: [], any: 0, assertions: 0 };
  const visit = (node) => {
    if (ts.isFunctionLike(node) && node.body) {
      const where = node.name?.getText(source) ?? 'anonymous';
      found.functions.push({ name: `${nameOf(source)} ${where}`, lines: linesOf(node, source) });
    }
    found.any += node.kind === ts.SyntaxKind.AnyKeyword ? 1 : 0;
    found.assertions += ts.isNonNullExpression(node) ? 1 : 0;
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

/** Imports that are there at run time; those of types alone vanish. */
function importsOf(source) {
  return source.statements
    .filter((node) => (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) && node.moduleSpecifier)
    .filter((node) => !node.isTypeOnly && !node.importClause?.isTypeOnly)
    .map((node) => ts.resolveModuleName(node.moduleSpecifier.text, source.fileName, options, ts.sys).resolvedModule)
    .filter((module) => fileNames.includes(module?.resolvedFileName))
    .map((module) => module.resolvedFileName);
}

/** Files that import each other, straight or by way of others (Tarjan's strongly connected components). */
function cycles() {
  const graph = new Map(sources.map((source) => [source.fileName, importsOf(source)]));
  const index = new Map();
  const low = new Map();
  const stack = [];
  const components = [];
  const connect = (file) => {
    index.set(file, index.size);
    low.set(file, index.get(file));
    stack.push(file);
    for (const next of graph.get(file)) {
      if (!index.has(next)) {
        connect(next);
      }
      if (stack.includes(next)) {
        low.set(file, Math.min(low.get(file), low.get(next)));
      }
    }
    if (low.get(file) === index.get(file)) {
      components.push(stack.splice(stack.indexOf(file)));
    }
  };
  for (const file of graph.keys()) {
    if (!index.has(file)) {
      connect(file);
    }
  }
  return components.filter((component) => component.length > 1);
}

const files = sources.map((source) => ({ name: nameOf(source), lines: source.getLineStarts().length - 1 }));
const readings = sources.map(read);
const functions = readings.flatMap((each) => each.functions);
const names = exportedNames(program, 'lib/index.ts');
const undocumented = names.filter(({ documented }) => !documented).map(({ name }) => name);
const sum = (key) => readings.reduce((total, each) => total + each[key], 0);
const dependencies = Object.keys(JSON.parse(readFileSync('package.json', 'utf8')).dependencies ?? {});

const rows = [
  [
    'files',
    files.length,
    `${files.reduce((total, { lines }) => total + lines, 0)} lines, in ${new Set(files.map(({ name }) => dirname(name))).size} folders`,
  ],
  ['longest file', largest(files).lines, largest(files).name],
  ['median file', median(files.map(({ lines }) => lines)), '≤ 100'],
  ['longest function', largest(functions).lines, `≤ ${LIMITS.function}: ${largest(functions).name}`],
  ['median function', median(functions.map(({ lines }) => lines)), `≤ 10, of ${functions.length}`],
  ['any', sum('any'), '0'],
  ['non-null assertions', sum('assertions'), '0'],
  [
    'import cycles',
    cycles().length,
    `0 ${cycles()
      .map((cycle) => cycle.map((file) => relative('.', file)).join(' ↔ '))
      .join(', ')}`,
  ],
  ['names exported from the root', names.length, `≤ ${LIMITS.names}`],
  ['documented', `${Math.round((1 - undocumented.length / names.length) * 100)} %`, `100 % ${undocumented.join(', ')}`],
  ['runtime dependencies', dependencies.length, dependencies.join(', ')],
];
for (const [what, figure, note] of rows) {
  console.log(`${what.padEnd(30)}${String(figure).padStart(6)}   ${note}`);
}
