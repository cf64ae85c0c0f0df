import { cpSync, existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The builds of this package that are compared. They are copies next to the installed one, so that they use the same copy of Nest. */

/**
 * `other`: the build that is given with `--other`. `native`: a copy of the installed build, since a copy either uses the native writer in the whole process or does not use it.
 * @typedef {'other' | 'native'} Variant
 */

const INSTALLED = 'nestjs-streaming';
const NATIVE = 'nestjs-streaming-native';

/** @param {Variant | undefined} variant */
export const packageOf = (variant) => (variant === undefined ? INSTALLED : `${INSTALLED}-bench-${variant}`);

/** @param {string} name */
const directoryOf = (name) => fileURLToPath(new URL(`../node_modules/${name}/`, import.meta.url));

/** Returns the name of the package that a module of contestants uses. @param {string} url of the module, with the variant as its query */
const packageFor = (url) => packageOf(/** @type {Variant | undefined} */ (new URL(url).search.slice(1) || undefined));

/**
 * @param {string} url of the module that asks
 * @returns {Promise<typeof import('nestjs-streaming')>}
 */
export const build = (url) => import(packageFor(url));

/**
 * Copies a build next to the installed one.
 * @param {Variant} variant
 * @param {string} [top] a directory with `package.json` and `dist`
 */
export function copyBuild(variant, top = directoryOf(INSTALLED)) {
  const to = directoryOf(packageOf(variant));
  rmSync(to, { recursive: true, force: true });
  for (const part of ['package.json', 'dist']) {
    cpSync(join(top, part), join(to, part), { recursive: true });
  }
}

/** Whether a build contains the adapter for Express. @param {Variant} [variant] */
export const hasAdapter = (variant) => existsSync(join(directoryOf(packageOf(variant)), 'dist/express'));

/** Whether the package with the native writer is installed. */
export const hasNative = () => existsSync(directoryOf(NATIVE));

/**
 * Returns a new adapter of this package for Express.
 * @param {string} url of the module that asks
 * @returns {Promise<import('@nestjs/common').HttpServer>}
 */
export async function adapter(url) {
  const { StreamingExpressAdapter } = await import(`${packageFor(url)}/express`);
  return new StreamingExpressAdapter();
}
