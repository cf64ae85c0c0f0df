import { createRequire } from 'node:module';
import { resolve } from 'node:path';
import type * as native from '../../native/index.js';
import { buildAddon } from '../support/node-gyp.js';

/** A build takes ten seconds, and more if the machine is busy. */
export const BUILD_TIMEOUT = 180_000;

/** Builds the package, and returns its main file. @param sanitizer see {@link buildAddon} */
export async function buildNative(sanitizer?: 'address'): Promise<string> {
  return resolve(await buildAddon('native', 'writer', sanitizer), '../../../index.js');
}

/** Builds and loads the package. */
export async function loadNative(): Promise<typeof native> {
  return createRequire(import.meta.url)(await buildNative()) as typeof native;
}
