// Makes dist/console/page-file.js contain what it reads: next to a bundle of an application, there are no files to read, and no esbuild.
import { readdirSync, writeFileSync } from 'node:fs';
import { pageFile } from '../dist/console/page-file.js';

const names = [...readdirSync('lib/console/page'), 'client.js'].sort();
const files = Object.fromEntries(names.map((name) => [name, pageFile(name)]));
writeFileSync(
  'dist/console/page-file.js',
  `const FILES = ${JSON.stringify(files, undefined, 2)};\nexport const pageFile = (name) => FILES[name];\n`,
);
