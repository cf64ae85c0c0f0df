import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const FOLDER = fileURLToPath(new URL('addon', import.meta.url));
/** Where packages of Node.js for Linux and macOS have its headers. Without them, node-gyp downloads them. */
const NODE_FOLDER = resolve(process.execPath, '../..');
const LAST_LINES = 15;

/** Builds the addon of the benchmark, as the guide does. Returns its path, or `undefined` if that is not possible here. */
export function buildAddon() {
  const headers = existsSync(join(NODE_FOLDER, 'include/node/node_api.h')) ? ['--nodedir', NODE_FOLDER] : [];
  const nodeGyp = createRequire(import.meta.url).resolve('node-gyp/bin/node-gyp.js');
  const args = [nodeGyp, 'rebuild', '--directory', FOLDER, ...headers];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
  if (status === 0) {
    return join(FOLDER, 'build/Release/producers.node');
  }
  const reason = `${stdout}${stderr}`.trim().split('\n').slice(-LAST_LINES).join('\n');
  console.log(
    `**The addon is MISSING: node-gyp needs a compiler, make and Python. The producers in C++ are left out.**\n\n${reason}\n`,
  );
  return undefined;
}
