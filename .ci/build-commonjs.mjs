// Makes the CommonJS build of the ESM build: dist/**/*.js becomes dist/cjs/**/*.js. Declarations are the same.
import { cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import ts from 'typescript';

const FROM = 'dist';
const TO = 'dist/cjs';
const compilerOptions = { module: ts.ModuleKind.CommonJS, target: ts.ScriptTarget.ES2022, esModuleInterop: true };

/**
 * Replaces what TypeScript makes too much of: an `import()` of an optional package becomes a `require()` in the same `try`:
 * only there do bundlers treat the package as optional, and not in a callback, where TypeScript would put it.
 */
const replaceImports = (context) => (file) => {
  const visit = (node) => {
    if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
      return ts.factory.createCallExpression(ts.factory.createIdentifier('require'), undefined, node.arguments);
    }
    if (ts.isMetaProperty(node)) {
      throw new Error(`${file.fileName}: CommonJS has no import.meta`);
    }
    return ts.visitEachChild(node, visit, context);
  };
  return ts.visitNode(file, visit);
};

function commonJsOf(name) {
  const source = readFileSync(join(FROM, name), 'utf8');
  const transformers = { before: [replaceImports] };
  return ts.transpileModule(source, { compilerOptions, fileName: name, transformers }).outputText;
}

for (const name of readdirSync(FROM, { recursive: true })) {
  mkdirSync(dirname(join(TO, name)), { recursive: true });
  if (name.endsWith('.d.ts')) {
    cpSync(join(FROM, name), join(TO, name));
  } else if (name.endsWith('.js')) {
    writeFileSync(join(TO, name), commonJsOf(name));
  }
}
const { sideEffects } = JSON.parse(readFileSync('package.json', 'utf8'));
writeFileSync(join(TO, 'package.json'), `${JSON.stringify({ type: 'commonjs', sideEffects })}\n`);
