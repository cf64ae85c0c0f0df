import { isNotInstalled } from '../../util/error-text.js';
import { StreamError } from '../../util/errors.js';
import { type Command, checkInterleavings, type FastCheck, type Faults } from './commands.js';
import type { Case, ContractContext } from './contract-context.js';
import type { BrokerContractSetup } from './contract-setup.js';
import { InterleavingRun } from './interleaving-run.js';

/** How long one interleaving may take, on average. */
const MS_PER_RUN = 1_000;

/** @throws {StreamError} `module-missing` if it is not installed */
export async function importFastCheck(): Promise<FastCheck> {
  try {
    return await import('fast-check');
  } catch (cause) {
    throw isNotInstalled('fast-check', cause)
      ? new StreamError(
          'module-missing',
          'The contract of a broker needs the package fast-check: npm install --save-dev fast-check',
          { cause },
        )
      : cause;
  }
}

function faultsOf({ cut, rewind, freeze, thaw }: BrokerContractSetup): Faults {
  return new Set([
    ...(cut ? (['cut'] as const) : []),
    ...(rewind ? (['rewind'] as const) : []),
    ...(freeze && thaw ? (['freeze', 'thaw'] as const) : []),
  ]);
}

async function accountsForEverything(context: ContractContext): Promise<void> {
  const { runs = 100, seed } = context.setup;
  // Imported only here, because the other cases do not need fast-check.
  const fastCheck = await importFastCheck();
  const broker = await context.broker();
  const other = await context.another(broker);
  const trial = { faults: faultsOf(context.setup), runs, seed, within: runs * MS_PER_RUN };
  await checkInterleavings(fastCheck, trial, async (commands: Command[]) => {
    const run = await InterleavingRun.begin(context, [broker, other]);
    try {
      for (const command of commands) {
        await run.perform(command);
      }
      await run.finish();
    } finally {
      await run.end();
    }
  });
}

export const INTERLEAVING_CASES: readonly Case[] = [
  [
    'a hub delivers every event in order and once, or reports it as lost, however publishing, eviction, reading, leaving and resuming interleave',
    accountsForEverything,
  ],
];
