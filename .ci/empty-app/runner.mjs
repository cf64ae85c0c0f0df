// Makes the functions of node:test global, as those of Jest and Vitest are: `node --import ./runner.mjs --test`.
import { afterEach, beforeEach, test } from 'node:test';

Object.assign(globalThis, { afterEach, beforeEach, test });
