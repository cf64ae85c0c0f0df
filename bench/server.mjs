import { once } from 'node:events';

/** The process of one contestant: listens on a free port and tells the runner what it used. */

const SETTLE_MS = 50;
const [file, name] = process.argv.slice(2);

/** @returns {Promise<{ heap: number, rss: number }>} bytes, after what can be collected has been */
async function memory() {
  for (let i = 0; i < 4; i++) {
    globalThis.gc?.();
    await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
  }
  const { heapUsed, rss } = process.memoryUsage();
  return { heap: heapUsed, rss };
}

/** @returns {{ cpu: number }} microseconds, in user code and in the kernel */
function cpu() {
  const { user, system } = process.cpuUsage();
  return { cpu: user + system };
}

process.on('disconnect', () => process.exit());
process.on('message', async (/** @type {{ ask: 'cpu' | 'memory' }} */ { ask }) => {
  process.send?.(ask === 'cpu' ? cpu() : await memory());
});

const { [name]: create } = await import(`./servers/${file}.mjs`);
const server = await create();
server.listen(0, '127.0.0.1');
await once(server, 'listening');
process.send?.({ port: server.address().port });
