import type { Command } from './commands.js';
import { Play } from './play.js';
import type { Case, Stage } from './stage.js';

/** How long an interleaving may take to be tried, on average. */
const MS_PER_RUN = 1_000;

async function accountsForEverything(stage: Stage): Promise<void> {
  const { runs = 100, seed } = stage.setup;
  // Only here: who needs nothing but the other cases can do without fast-check.
  const { tryAll } = await import('./commands.js');
  const broker = await stage.broker();
  const other = await stage.another(broker);
  await tryAll({ runs, seed, within: runs * MS_PER_RUN }, async (commands: Command[]) => {
    const play = await Play.begin(stage, [broker, other]);
    try {
      for (const command of commands) {
        await play.perform(command);
      }
      await play.finish();
    } finally {
      await play.end();
    }
  });
}

export const INTERLEAVING_CASES: readonly Case[] = [
  [
    'whatever is published, evicted, heard, left and come back to in whatever order: all is given in order and once, or told to be lost',
    accountsForEverything,
  ],
];
