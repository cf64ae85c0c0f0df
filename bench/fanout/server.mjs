import { once } from 'node:events';
import { cpu, memory } from '../usage.mjs';
import { now } from './message.mjs';
import { profiled } from './profile.mjs';
import { Publisher } from './publisher.mjs';

/** The process of one contestant. It listens on a free port, publishes on request, and reports its resources. */

const [file, name] = process.argv.slice(2);

process.on('disconnect', () => process.exit());

const { [name]: create } = await import(`./servers/${file}.mjs`);
/** @type {import('./publisher.mjs').Broadcaster} */
const broadcaster = await create();
const publisher = new Publisher(broadcaster);

/** @param {{ pace: 'paced' | 'saturated', perTurn: number, ms: number, interval: number, profile?: string }} how */
async function publish({ pace, profile, ...how }) {
  const began = now();
  const messages = await profiled(profile, () => publisher[pace](how));
  return { began, ended: now(), messages };
}

/** @type {Record<string, (question: any) => unknown>} */
const ANSWERS = {
  cpu: () => (broadcaster.cpu ?? cpu)(),
  memory: () => (broadcaster.memory ?? memory)(),
  left: () => publisher.left(),
  publish,
};
process.on('message', async (/** @type {{ ask: string }} */ { ask, ...question }) => {
  try {
    process.send?.({ ...(await ANSWERS[ask](question)) });
  } catch (error) {
    process.send?.({ error: String(error) });
  }
});

broadcaster.server?.listen(0, '127.0.0.1');
if (broadcaster.server) {
  await once(broadcaster.server, 'listening');
}
const address = /** @type {import('node:net').AddressInfo | undefined} */ (broadcaster.server?.address());
process.send?.({ port: broadcaster.port ?? address?.port, ackPort: await publisher.listen() });
