import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { buildSync } from 'esbuild';

const fileOf = (path: string): URL => new URL(`../../lib/${path}`, import.meta.url);

/** Returns the client, `nestjs-streaming/client`, as one script that declares `connect`. */
function client(): string {
  const { outputFiles } = buildSync({
    entryPoints: [fileURLToPath(fileOf('client/index.ts'))],
    bundle: true,
    minify: true,
    format: 'iife',
    globalName: 'client',
    footer: { js: 'const { connect } = client;' },
    target: 'es2022',
    write: false,
  });
  return outputFiles[0]?.text ?? '';
}

/** Returns the text of a file of the page. The build replaces this module with one that contains the texts, so that the console can be bundled. */
export const pageFile = (name: string): string =>
  name === 'client.js' ? client() : readFileSync(fileOf(`console/page/${name}`), 'utf8');
