// Starts the built sample. `NEST=11 npm start` runs the same files with Nest 11, which the first such start installs into node_modules/.cache.
// With `--install`, it only does that.
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';

const PACKAGES = ['common', 'core', 'platform-express', 'platform-fastify', 'swagger'].map((name) => `@nestjs/${name}`);
const ROOT = new URL('../', import.meta.url);

/** Copies the sample and the package next to another version of Nest, and returns the file to run. */
function prepare(version) {
  if (!/^\d+(\.\d+){0,2}$/.test(version)) {
    throw new Error(`NEST is a version such as 11 or 11.1.0, not "${version}"`);
  }
  const folder = new URL(`node_modules/.cache/sample-nest-${version}/`, ROOT);
  const modules = new URL('node_modules/', folder);
  if (!existsSync(new URL('@nestjs/core/', modules))) {
    mkdirSync(folder, { recursive: true });
    const dependencies = Object.fromEntries(PACKAGES.map((name) => [name, version]));
    writeFileSync(new URL('package.json', folder), JSON.stringify({ private: true, type: 'module', dependencies }));
    console.log(`Installing Nest ${version}…`);
    const options = ['--no-audit', '--no-fund', '--no-package-lock', '--loglevel=error'];
    execFileSync('npm', ['install', ...options], { cwd: folder, stdio: 'inherit' });
  }
  const copies = [
    ['sample/dist/', new URL('dist/', folder)],
    ['dist/', new URL('nestjs-streaming/dist/', modules)],
    ['package.json', new URL('nestjs-streaming/package.json', modules)],
  ];
  for (const [from, to] of copies) {
    rmSync(to, { recursive: true, force: true });
    cpSync(new URL(from, ROOT), to, { recursive: true });
  }
  return new URL('dist/main.js', folder);
}

const { NEST } = process.env;
const main = NEST ? prepare(NEST) : new URL('dist/main.js', import.meta.url);
// For CI, where a test of the sample has no time to install anything.
if (process.argv[2] !== '--install') {
  await import(main);
}
