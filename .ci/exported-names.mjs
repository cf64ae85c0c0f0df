// Prints the public names of every entry point of the package, as its types declare them: `node .ci/exported-names.mjs`.
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import ts from 'typescript';

/** The public names, and whether each says what it does. */
export function exportedNames(program, entry) {
  const checker = program.getTypeChecker();
  const module = checker.getSymbolAtLocation(program.getSourceFile(resolve(entry)));
  return checker.getExportsOfModule(module).map((symbol) => {
    const real = symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol;
    const typeOnly = symbol.declarations?.some(ts.isPartOfTypeOnlyImportOrExportDeclaration);
    const isValue = Boolean(real.flags & ts.SymbolFlags.Value) && !typeOnly;
    return { name: symbol.name, isValue, documented: real.getDocumentationComment(checker).length > 0 };
  });
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const { name, exports } = JSON.parse(readFileSync('package.json', 'utf8'));
  const entries = Object.entries(exports).filter(([, target]) => target.types);
  const options = { module: ts.ModuleKind.NodeNext, target: ts.ScriptTarget.ES2022, skipLibCheck: true };
  const files = entries.map(([, { types }]) => types);
  const program = ts.createProgram(files, options);
  for (const [path, { types }] of entries) {
    console.log(`${name}${path.slice(1)}`);
    for (const each of exportedNames(program, types).sort((a, b) => (a.name < b.name ? -1 : 1))) {
      console.log(`  ${each.isValue ? '' : 'type '}${each.name}`);
    }
  }
}
