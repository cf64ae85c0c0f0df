import { cpSync, existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The builds of this package that are compared: the installed one, and with `--other` another one, which the runner has copied to `node_modules`. */

const INSTALLED = 'nestjs-streaming';
const OTHER = 'nestjs-streaming-other';

/** Returns the name of the package that a module of contestants uses. @param {string} url of the module, with `?other` for the other build */
const packageOf = (url) => (new URL(url).search === '?other' ? OTHER : INSTALLED);

/**
 * @param {string} url of the module that asks
 * @returns {Promise<typeof import('nestjs-streaming')>}
 */
export const build = (url) => import(packageOf(url));

/** @param {string} name */
const directoryOf = (name) => new URL(`../node_modules/${name}/`, import.meta.url);

/**
 * Copies another build next to the installed one, so that it uses the same copy of Nest.
 * @param {string} top a directory with `package.json` and `dist`
 */
export function copyBuild(top) {
  const to = fileURLToPath(directoryOf(OTHER));
  rmSync(to, { recursive: true, force: true });
  for (const part of ['package.json', 'dist']) {
    cpSync(join(top, part), join(to, part), { recursive: true });
  }
}

/** Whether a build contains the adapter for Express. @param {boolean} [other] */
export const hasAdapter = (other = false) =>
  existsSync(new URL('dist/express', directoryOf(other ? OTHER : INSTALLED)));

/** Whether the package with the native writer is installed. */
export const hasNative = () => existsSync(fileURLToPath(directoryOf('nestjs-streaming-native')));

/**
 * Returns a new adapter of this package for Express.
 * @param {string} url of the module that asks
 * @returns {Promise<import('@nestjs/common').HttpServer>}
 */
export async function adapter(url) {
  const { StreamingExpressAdapter } = await import(`${packageOf(url)}/express`);
  return new StreamingExpressAdapter();
}
