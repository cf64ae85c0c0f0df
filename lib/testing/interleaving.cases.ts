import { StreamError } from '../errors.js';
import { isNotInstalled } from '../optional-package.js';
import { type Command, type FastCheck, tryAll } from './commands.js';
import { Play } from './play.js';
import type { Case, Stage } from './stage.js';

/** How long an interleaving may take to be tried, on average. */
const MS_PER_RUN = 1_000;

async function importFastCheck(): Promise<FastCheck> {
  try {
    return await import('fast-check');
  } catch (cause) {
    throw isNotInstalled('fast-check', cause)
      ? new StreamError(
          'module-missing',
          'brokerContract() needs the package fast-check: npm install --save-dev fast-check',
          { cause },
        )
      : cause;
  }
}

async function accountsForEverything(stage: Stage): Promise<void> {
  const { runs = 100, seed } = stage.setup;
  // Only here: the other cases do not need fast-check.
  const fastCheck = await importFastCheck();
  const broker = await stage.broker();
  const other = await stage.another(broker);
  await tryAll(fastCheck, { runs, seed, within: runs * MS_PER_RUN }, async (commands: Command[]) => {
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
