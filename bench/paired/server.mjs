import { startLoad } from './load-process.mjs';

/** The process with all contestants of a group. It drives the load generator itself, so that nothing else comes between slices. */

const [part, options] = process.argv.slice(2);
const { contestants, ...how } = JSON.parse(options);

process.on('disconnect', () => process.exit());

const load = startLoad();
const { create } = await import(`./parts/${part}.mjs`);

/** @param {() => Promise<object | void>} run */
async function answer(run) {
  try {
    process.send?.({ ...(await run()) });
  } catch (error) {
    process.send?.({ error: error instanceof Error ? error.stack : String(error) });
  }
}

/** @type {Record<string, (question: any) => Promise<object>>} */
let answers = {};
process.on('message', (/** @type {{ ask: string }} */ { ask, ...question }) => answer(() => answers[ask](question)));
await answer(async () => {
  answers = await create(contestants, load, how);
});
