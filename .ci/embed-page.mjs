// Makes dist/console/page-file.js contain the files of the console's page: next to a bundle of an application, there are no files to read.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';

const FROM = 'lib/console/page';
const files = Object.fromEntries(
  readdirSync(FROM)
    .sort()
    .map((name) => [name, readFileSync(`${FROM}/${name}`, 'utf8')]),
);
writeFileSync(
  'dist/console/page-file.js',
  `const FILES = ${JSON.stringify(files, undefined, 2)};\nexport const pageFile = (name) => FILES[name];\n`,
);
