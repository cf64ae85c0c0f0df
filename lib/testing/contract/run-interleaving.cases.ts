import type { Case, ContractContext } from './contract-context.js';
import { importFastCheck } from './interleaving.cases.js';
import { type RunScript, runScripts } from './run-commands.js';
import { RunInterleaving } from './run-interleaving.js';

/** How long one interleaving may take, on average. */
const MS_PER_RUN = 2_000;

async function agreesWithTheModel(context: ContractContext): Promise<void> {
  const { runs = 100, seed } = context.setup;
  const fastCheck = await importFastCheck();
  const property = fastCheck.asyncProperty(runScripts(fastCheck), async (script: RunScript) => {
    const interleaving = await RunInterleaving.begin(context, script);
    try {
      for (const command of script.commands) {
        await interleaving.perform(command);
      }
      await interleaving.finish();
    } finally {
      await interleaving.end();
    }
  });
  await fastCheck.assert(property, {
    numRuns: runs,
    interruptAfterTimeLimit: runs * MS_PER_RUN,
    ...(seed === undefined ? {} : { seed }),
  });
}

export const RUN_INTERLEAVING_CASES: readonly Case[] = [
  [
    'a viewer receives the chunks of one run without gap and duplicate, and its end, however starts, joins, stops, crashes and cuts interleave',
    agreesWithTheModel,
  ],
];
