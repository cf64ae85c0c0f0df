import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  accessSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { basename, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { toolPath } from './tools.js';

const run = promisify(execFile);
const ROOT = fileURLToPath(new URL('../../', import.meta.url));
/** Ignored by git. It is in this repository, so that a binding.gyp finds the package by its name. */
const OUTPUT = join(ROOT, 'build');
const NODE_GYP = createRequire(import.meta.url).resolve('node-gyp/bin/node-gyp.js');
/** Where packages of Node.js for Linux and macOS have its headers. Without them, node-gyp downloads them. */
const NODE_FOLDER = resolve(process.execPath, '../..');
const NOT_COPIED = new Set(['build', 'node_modules']);

export type Sanitizer = 'address' | 'thread';

/** The path of the compiler, or `undefined` if a tool is missing: `describeWith(NODE_GYP_TOOLS, nodeGypTools())('…', () => …)`. */
export function nodeGypTools(): string | undefined {
  return toolPath('make') && toolPath('python3') && toolPath('g++');
}

/** The tools that {@link buildAddon} needs, for the message about skipped tests. */
export const NODE_GYP_TOOLS = 'g++, make and python3';

/**
 * Builds the addon of a folder with a `binding.gyp`, in a copy of the folder below `build/`. The result is kept until a file of the folder or of
 * `include/` changes, so that only the first test takes the ten seconds.
 * @param folder relative to the repository, such as `sample/native`. Its sources include no file of the folders above it
 * @param target the `target_name` in its `binding.gyp`
 * @param sanitizer instruments the addon. It can then only be loaded by a process with {@link sanitizerEnvironment}
 * @returns the path of the addon
 */
export async function buildAddon(folder: string, target: string, sanitizer?: Sanitizer): Promise<string> {
  const source = resolve(ROOT, folder);
  const name = `${basename(folder)}${sanitizer ? `-${sanitizer}` : ''}-${digestOf([source, join(ROOT, 'include')], sanitizer)}`;
  const built = join(OUTPUT, name);
  const addon = join(built, 'build/Release', `${target}.node`);
  if (!existsSync(addon)) {
    mkdirSync(OUTPUT, { recursive: true });
    // Another test may build the same addon at the same time: the first one to rename its folder wins.
    const place = mkdtempSync(join(OUTPUT, 'building-'));
    try {
      await build(source, place, sanitizer);
      move(place, built);
    } finally {
      rmSync(place, { recursive: true, force: true });
    }
  }
  accessSync(addon);
  return addon;
}

/** The environment of a process that loads an instrumented addon: the runtime of a sanitizer has to be the first library of the process. */
export async function sanitizerEnvironment(sanitizer: Sanitizer): Promise<NodeJS.ProcessEnv> {
  const library = sanitizer === 'address' ? 'libasan.so' : 'libtsan.so';
  const { stdout } = await run('g++', [`-print-file-name=${library}`]);
  return { ...process.env, LD_PRELOAD: stdout.trim() };
}

async function build(source: string, place: string, sanitizer: Sanitizer | undefined): Promise<void> {
  for (const name of readdirSync(source).filter((entry) => !NOT_COPIED.has(entry))) {
    cpSync(join(source, name), join(place, name), { recursive: true });
  }
  const headers = existsSync(join(NODE_FOLDER, 'include/node/node_api.h')) ? ['--nodedir', NODE_FOLDER] : [];
  const flags = sanitizer ? `-fsanitize=${sanitizer} -fno-omit-frame-pointer -g` : '';
  const env = { ...process.env, CFLAGS: flags, CXXFLAGS: flags, LDFLAGS: flags };
  try {
    await run(process.execPath, [NODE_GYP, 'rebuild', ...headers], { cwd: place, env, maxBuffer: 10_000_000 });
  } catch (error) {
    const { stdout, stderr } = error as { stdout?: string; stderr?: string };
    throw new Error(`node-gyp failed in ${source}:\n${stdout}\n${stderr}`, { cause: error });
  }
}

function move(from: string, to: string): void {
  try {
    renameSync(from, to);
  } catch (error) {
    if (!existsSync(to)) {
      throw error;
    }
  }
}

function digestOf(folders: readonly string[], sanitizer: Sanitizer | undefined): string {
  const hash = createHash('sha256').update(`${process.version} ${process.arch} ${sanitizer}`);
  for (const folder of folders.filter((path) => existsSync(path))) {
    const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
    for (const path of files.map((entry) => join(entry.parentPath, entry.name)).sort()) {
      if (
        !path
          .slice(folder.length)
          .split(/[\\/]/)
          .some((part) => NOT_COPIED.has(part))
      ) {
        hash.update(path).update('\0').update(readFileSync(path));
      }
    }
  }
  return hash.digest('hex').slice(0, 16);
}
