// native-addon.mjs ADDON: reads the stream of the guide's addon in the version of Node.js that runs this file.
import { deepStrictEqual } from 'node:assert';
import { createRequire } from 'node:module';
import { resolve } from 'node:path';
import { fromNative } from 'nestjs-streaming/worker';

const { tokens } = createRequire(import.meta.url)(resolve(process.argv[2]));
const chunks = [];
for await (const chunk of fromNative(tokens(3, 1), { encoding: 'utf8' })) {
  chunks.push(chunk);
}
deepStrictEqual(chunks, ['token 1', 'token 2', 'token 3']);
console.log(`Node.js ${process.version}: the addon of the guide`);
