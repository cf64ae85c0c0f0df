import { createRequire } from 'node:module';
import { cpu } from '../usage.mjs';

/** Loads Nest, and then a package, and reports what that took. A process of its own for each measurement. */

const [kind, name] = process.argv.slice(2);
const require = createRequire(import.meta.url);
/** @type {(name: string) => unknown} */
const load = kind === 'require' ? require : (each) => import(each);
const NEST = ['reflect-metadata', '@nestjs/common', '@nestjs/core', '@nestjs/platform-express', 'rxjs'];

/** @param {readonly string[]} names */
async function measure(names) {
  const before = cpu();
  const began = performance.now();
  for (const each of names) {
    await load(each);
  }
  return { ms: performance.now() - began, cpu: (cpu().cpu - before.cpu) / 1_000 };
}

const nest = await measure(NEST);
process.send?.(name === undefined ? nest : await measure([name]));
