// Lets the process of a test import TypeScript, transformed as Jest does: `node --import ./test/support/typescript.mjs`.
import { readFile } from 'node:fs/promises';
import { register } from 'node:module';
import { isMainThread } from 'node:worker_threads';
import { transform } from '@swc/core';
import jest from '../../jest.config.js';

const [, options] = jest.transform['\\.ts$'];

if (isMainThread) {
  register(import.meta.url);
}

/** The sources import each other by the names of the compiled files. */
export async function resolve(specifier, context, next) {
  const own = specifier.startsWith('.') && specifier.endsWith('.js') && context.parentURL?.endsWith('.ts');
  return next(own ? specifier.replace(/\.js$/, '.ts') : specifier, context);
}

export async function load(url, context, next) {
  if (!url.endsWith('.ts')) {
    return next(url, context);
  }
  const source = await readFile(new URL(url), 'utf8');
  const { code } = await transform(source, { ...options, filename: new URL(url).pathname, sourceMaps: 'inline' });
  return { format: 'module', source: code, shortCircuit: true };
}
