// Prints measurements of lib/, and fails if a limit is exceeded: `npm run scorecard`.
import { readFileSync } from 'node:fs';
import { basename, dirname, relative, resolve } from 'node:path';
import ts from 'typescript';

const config = ts.readConfigFile('tsconfig.build.json', ts.sys.readFile).config;
const { fileNames, options } = ts.parseJsonConfigFileContent(config, ts.sys, process.cwd());
const program = ts.createProgram(fileNames, options);
const checker = program.getTypeChecker();
const sources = program.getSourceFiles().filter(({ fileName }) => fileNames.includes(fileName));

const nameOf = (source) => relative('.', source.fileName);
const median = (numbers) => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)];
const largest = (items, key) => items.reduce((a, b) => (b[key] > a[key] ? b : a));
const sum = (numbers) => numbers.reduce((total, each) => total + each, 0);

function linesOf(node, source) {
  const lineOf = (position) => source.getLineAndCharacterOfPosition(position).line;
  return lineOf(node.getEnd()) - lineOf(node.getStart(source)) + 1;
}

/** Functions with a body, classes, `any` and `x!` in one file. */
function read(source) {
  const found = { functions: [], classes: [], any: 0, assertions: 0 };
  const visit = (node) => {
    if (ts.isFunctionLike(node) && node.body) {
      const where = node.name?.getText(source) ?? 'anonymous';
      found.functions.push({ name: `${nameOf(source)} ${where}`, lines: linesOf(node, source) });
    }
    if (ts.isClassLike(node)) {
      found.classes.push(node);
    }
    found.any += node.kind === ts.SyntaxKind.AnyKeyword ? 1 : 0;
    found.assertions += ts.isNonNullExpression(node) ? 1 : 0;
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

const has = (node, kind) => node.modifiers?.some((modifier) => modifier.kind === kind) ?? false;

/** The class of this package that a class extends, if it extends one. */
function baseOf(node) {
  const clause = node.heritageClauses?.find(({ token }) => token === ts.SyntaxKind.ExtendsKeyword);
  const symbol = clause && checker.getSymbolAtLocation(clause.types[0].expression);
  const target = symbol && symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol;
  const declaration = target?.declarations?.find(ts.isClassLike);
  return declaration && fileNames.includes(declaration.getSourceFile().fileName) ? declaration : undefined;
}

function isError(node) {
  const type = checker.getTypeAtLocation(node);
  return type.getProperty('stack') !== undefined && type.getProperty('message') !== undefined;
}

/** Whether a class is only a contract that others implement. */
function isContract(node) {
  return (
    has(node, ts.SyntaxKind.AbstractKeyword) && node.members.every((each) => has(each, ts.SyntaxKind.AbstractKeyword))
  );
}

/** Fields of a class that may be assigned again. */
function mutableFields(node) {
  const fields = node.members.filter(
    (each) =>
      ts.isPropertyDeclaration(each) &&
      !['ReadonlyKeyword', 'StaticKeyword', 'AbstractKeyword', 'DeclareKeyword'].some((kind) =>
        has(each, ts.SyntaxKind[kind]),
      ),
  );
  const parameters = (node.members.find(ts.isConstructorDeclaration)?.parameters ?? []).filter(
    (each) => each.modifiers?.length > 0 && !has(each, ts.SyntaxKind.ReadonlyKeyword),
  );
  return fields.length + parameters.length;
}

/** The measurements of a class together with its bases in this package. */
function measure(node) {
  const base = baseOf(node);
  const below = base ? measure(base) : { lines: 0, fields: 0 };
  return {
    name: `${nameOf(node.getSourceFile())} ${node.name?.text ?? 'anonymous'}`,
    lines: linesOf(node, node.getSourceFile()) + below.lines,
    fields: mutableFields(node) + below.fields,
    inherits: base !== undefined && !isContract(base) && !isError(node),
  };
}

/** The files of this package that a file imports or takes types from. */
function importsOf(source) {
  return source.statements
    .filter((node) => (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) && node.moduleSpecifier)
    .map((node) => ts.resolveModuleName(node.moduleSpecifier.text, source.fileName, options, ts.sys).resolvedModule)
    .filter((module) => fileNames.includes(module?.resolvedFileName))
    .map((module) => module.resolvedFileName);
}

/** The strongly connected components of a graph, those without dependencies first (Tarjan). */
function components(graph) {
  const index = new Map();
  const low = new Map();
  const stack = [];
  const found = [];
  const connect = (node) => {
    index.set(node, index.size);
    low.set(node, index.get(node));
    stack.push(node);
    for (const next of graph.get(node)) {
      if (!index.has(next)) {
        connect(next);
      }
      if (stack.includes(next)) {
        low.set(node, Math.min(low.get(node), low.get(next)));
      }
    }
    if (low.get(node) === index.get(node)) {
      found.push(stack.splice(stack.indexOf(node)));
    }
  };
  for (const node of graph.keys()) {
    if (!index.has(node)) {
      connect(node);
    }
  }
  return found;
}

/** A room is a folder, or a file next to the entry. */
function roomOf(file) {
  const name = relative('lib', file);
  return name.includes('/') ? dirname(name) : basename(name);
}

/** The rooms of a graph of files, each with the other rooms from which it imports. */
function roomsOf(files) {
  const rooms = new Map();
  for (const [file, imports] of files) {
    const room = roomOf(file);
    const others = imports.map(roomOf).filter((each) => each !== room);
    rooms.set(room, new Set([...(rooms.get(room) ?? []), ...others]));
  }
  return rooms;
}

/** Counts the rooms, the floors (each room is above the rooms that it needs), and the arrows between rooms. */
function plan(rooms) {
  const floors = new Map();
  for (const component of components(rooms)) {
    const below = component.flatMap((room) => [...rooms.get(room)]).map((room) => floors.get(room) ?? 0);
    const floor = Math.max(0, ...below) + component.length;
    for (const room of component) {
      floors.set(room, floor);
    }
  }
  const arrows = sum([...rooms.values()].map(({ size }) => size));
  return { rooms: rooms.size, floors: Math.max(...floors.values()), arrows };
}

/** The part of a graph that one file needs. The other entries have separate rooms. */
function reachable(graph, entry, found = new Map()) {
  if (!found.has(entry)) {
    found.set(entry, graph.get(entry));
    for (const next of graph.get(entry)) {
      reachable(graph, next, found);
    }
  }
  return found;
}

/** The names that a file exports, and whether each has a docstring. */
function exportedNames(entry) {
  const module = checker.getSymbolAtLocation(program.getSourceFile(resolve(entry)));
  return checker.getExportsOfModule(module).map((symbol) => {
    const real = symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol;
    return { name: symbol.name, documented: real.getDocumentationComment(checker).length > 0 };
  });
}

const graph = new Map(sources.map((source) => [source.fileName, importsOf(source)]));
const circlesOf = (parts) => components(parts).filter(({ length }) => length > 1);
const circles = circlesOf(graph);
const roomCircles = circlesOf(roomsOf(graph));
const files = sources.map((source) => ({ name: nameOf(source), lines: source.getLineStarts().length - 1 }));
const readings = sources.map(read);
const functions = readings.flatMap((each) => each.functions);
const classes = readings.flatMap((each) => each.classes.map(measure));
const heirs = classes.filter(({ inherits }) => inherits);
const small = files.filter(({ name, lines }) => lines <= 20 && basename(name) !== 'index.ts');
const names = exportedNames('lib/index.ts');
const undocumented = names.filter(({ documented }) => !documented);
const dependencies = Object.keys(JSON.parse(readFileSync('package.json', 'utf8')).dependencies ?? {});
const { rooms, floors, arrows } = plan(roomsOf(reachable(graph, resolve('lib/index.ts'))));

const list = (items, show = ({ name }) => name) => items.map(show).join(', ');
const row = (what, figure, limit, note = '') => ({ what, figure, limit, note });
const most = (what, items, key, limit) => row(what, largest(items, key)[key], limit, largest(items, key).name);

const rows = [
  row('files', files.length, undefined, `${sum(files.map(({ lines }) => lines))} lines`),
  most('longest file', files, 'lines'),
  row('median file', median(files.map(({ lines }) => lines)), 100),
  row('files of at most 20 lines', small.length, 20),
  most('longest function', functions, 'lines', 40),
  row('median function', median(functions.map(({ lines }) => lines)), 10, `of ${functions.length}`),
  most('longest class with its bases', classes, 'lines', 400),
  most('most mutable fields with bases', classes, 'fields', 8),
  row('classes that extend a class', heirs.length, 0, list(heirs)),
  row('any', sum(readings.map((each) => each.any)), 0),
  row('non-null assertions', sum(readings.map(({ assertions }) => assertions)), 0),
  row(
    'import circles, also of types',
    circles.length,
    0,
    list(circles, (circle) => circle.map((file) => relative('lib', file)).join(' ↔ ')),
  ),
  row(
    'circles of rooms',
    roomCircles.length,
    0,
    list(roomCircles, (circle) => circle.join(' ↔ ')),
  ),
  row('rooms', rooms, 24),
  row('floors', floors, 12),
  row('arrows', arrows, 104),
  row('names exported from the root', names.length, 72),
  row('names without documentation', undocumented.length, 0, list(undocumented)),
  row('runtime dependencies', dependencies.length, 1, dependencies.join(', ')),
];
for (const { what, figure, limit, note } of rows) {
  const bound = limit === undefined ? '' : `≤ ${limit}`;
  console.log(`${what.padEnd(32)}${String(figure).padStart(6)}   ${bound.padEnd(6)} ${note}`);
}
const exceeded = rows.filter(({ figure, limit }) => limit !== undefined && figure > limit);
if (exceeded.length > 0) {
  console.error(`\nOver the limit: ${list(exceeded, ({ what }) => what)}`);
  process.exitCode = 1;
}
