// context.mjs ADDON: opens the first stream of the process in a context of AsyncLocalStorage, and prints which context onReady() is called in.
import { AsyncLocalStorage } from 'node:async_hooks';
import { createRequire } from 'node:module';
import { takeOnce } from './reader.mjs';

const addon = createRequire(import.meta.url)(process.argv[2]);
const storage = new AsyncLocalStorage();
const { handle, stream } = storage.run('the first request', () => addon.open());
handle.onReady = () => process.stdout.write(`${storage.getStore()}\n`);
takeOnce(handle);
addon.close(stream);
