import { createRequire } from 'node:module';
import { cpu } from '../usage.mjs';

/** Loads Nest, and then a package, and reports what that took. A process of its own for each measurement. */

const [kind, name] = process.argv.slice(2);
const require = createRequire(import.meta.url);
/** @type {(name: string) => unknown} */
const load = kind === 'require' ? require : (name) => import(name);

for (const each of ['reflect-metadata', '@nestjs/common', '@nestjs/core', '@nestjs/platform-express', 'rxjs']) {
  await load(each);
}
const before = cpu();
const began = performance.now();
await load(name);
process.send?.({ ms: performance.now() - began, cpu: (cpu().cpu - before.cpu) / 1_000 });
