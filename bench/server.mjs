import { once } from 'node:events';
import { cpu, memory } from './usage.mjs';

/** The process of one contestant. It listens on a free port, and reports its resources to the runner. */

const [file, name] = process.argv.slice(2);

process.on('disconnect', () => process.exit());
process.on('message', async (/** @type {{ ask: 'cpu' | 'memory' }} */ { ask }) => {
  process.send?.(ask === 'cpu' ? cpu() : await memory());
});

const { [name]: create } = await import(`./servers/${file}.mjs`);
const server = await create();
server.listen(0, '127.0.0.1');
await once(server, 'listening');
process.send?.({ port: server.address().port });
