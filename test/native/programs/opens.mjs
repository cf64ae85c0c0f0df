// opens.mjs ADDON: opens 1 000 streams, which end in all ways. Their memory is free then: the sanitizer reports what is not.
import { createRequire } from 'node:module';
import { setImmediate as turn } from 'node:timers/promises';
import { countChunks, takeOnce } from './reader.mjs';

const addon = createRequire(import.meta.url)(process.argv[2]);

async function openAndEnd(i) {
  const { handle, stream } = addon.open(i % 3 ? 4096 : 1024);
  addon.send(stream, Buffer.alloc(5_000));
  addon.send(stream, Buffer.from('x'));
  if (i % 2) {
    takeOnce(handle);
  }
  if (i % 5 === 0) {
    handle.cancel();
  }
  if (i % 7 === 0) {
    addon.close(stream, 'an error');
    await countChunks(handle).catch(() => undefined);
  } else {
    addon.close(stream);
    await (i % 11 ? undefined : countChunks(handle));
  }
}

/** Opens a stream that JavaScript drops. */
function drop() {
  return addon.open().stream;
}

async function collectGarbage() {
  for (let i = 0; i < 10; i++) {
    global.gc();
    await turn();
  }
}

for (let i = 0; i < 1_000; i++) {
  await openAndEnd(i);
}
const dropped = drop();
await collectGarbage();
process.stdout.write(`a dropped stream: ${addon.isCancelled(dropped)}\n`);
if (process.argv[3] === 'leak') {
  addon.open();
} else {
  addon.close(dropped);
}
await collectGarbage();
