// Checks the client of the packed package in a folder without Nest and without the types of Node.js: `node .ci/client-gates.mjs <folder>`.
import { execFileSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { resolve } from 'node:path';
import { gzipSync } from 'node:zlib';

const MOST_BYTES = 4_096;
const folder = resolve(process.argv[2]);
const require = createRequire(`${folder}/package.json`);
const { build } = require('esbuild');

function check(isFine, message) {
  if (!isFine) {
    console.error(message);
    process.exit(1);
  }
}

async function bundle(contents) {
  const stdin = { contents, resolveDir: folder };
  const options = { bundle: true, minify: true, format: 'esm', platform: 'browser', write: false, metafile: true };
  const { outputFiles, metafile } = await build({ stdin, ...options, logLevel: 'error' });
  check(outputFiles.length === 1, 'The client has more than one file');
  return { text: outputFiles[0].text, inputs: Object.keys(metafile.inputs).filter((name) => name !== '<stdin>') };
}

const PROGRAM = `
import { connect, type ClientStream, type StreamItem } from 'nestjs-streaming/client';
export const stream: ClientStream<{ eur: number }> = connect('https://example.com/', { signal: new AbortController().signal });
export async function first(): Promise<StreamItem<{ eur: number }> | undefined> {
  for await (const item of stream) return item;
  return undefined;
}
`;
check(!existsSync(`${folder}/node_modules/@nestjs`), 'Nest is installed: the check would prove nothing');
check(
  !existsSync(`${folder}/node_modules/@types/node`),
  'The types of Node.js are installed: the check would prove nothing',
);
const compilerOptions = {
  lib: ['ES2022', 'DOM'],
  types: [],
  target: 'es2022',
  module: 'nodenext',
  strict: true,
  noEmit: true,
};
writeFileSync(`${folder}/tsconfig.json`, JSON.stringify({ compilerOptions, files: ['esm.mts', 'commonjs.cts'] }));
writeFileSync(`${folder}/esm.mts`, PROGRAM);
writeFileSync(`${folder}/commonjs.cts`, PROGRAM);
execFileSync(process.execPath, [require.resolve('typescript/bin/tsc'), '-p', folder], { stdio: 'inherit' });

const { text, inputs } = await bundle("export * from 'nestjs-streaming/client'");
const foreign = inputs.filter((name) => !/nestjs-streaming\/dist\/client\//.test(name));
check(foreign.length === 0, `The client imports ${foreign}`);
const { length } = gzipSync(text, { level: 9 });
check(length <= MOST_BYTES, `The client has ${length} bytes in a bundle, more than ${MOST_BYTES}`);
const unused = await bundle("import { connect } from 'nestjs-streaming/client'");
check(unused.text === '', 'The client has side effects: its import leaves code in a bundle that does not use it');
console.log(`the client has ${length} bytes in a bundle, minified and compressed`);
