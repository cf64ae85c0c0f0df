import { buildSync } from 'esbuild';
import { ROOT } from './documentation.js';

/** Returns the client as one module, for a page that imports `/client/index.js`. */
export function clientModule(): string {
  const { outputFiles } = buildSync({
    entryPoints: [`${ROOT}/lib/client/index.ts`],
    bundle: true,
    format: 'esm',
    write: false,
  });
  return outputFiles[0]?.text ?? '';
}
