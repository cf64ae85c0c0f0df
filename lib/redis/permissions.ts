import { textOf } from '../util/error-text.js';
import type { Connection } from './connection.js';
import type { LogKeys } from './log-keys.js';
import { unusable } from './redis-errors.js';

/** The commands that the broker uses, with arguments that change nothing. */
function harmlessCommands({ stream, run, once, who, figures }: Probes, publishes: boolean): string[][] {
  const commands = [
    ['INFO', 'server'],
    ['TIME'],
    ['XINFO', 'STREAM', stream],
    ['XRANGE', stream, '-', '-'],
    ['GET', run],
    ['SET', once, '', 'XX'],
    // Redis refuses this id, after it has checked the permissions.
    ['XADD', stream, 'NOMKSTREAM', '0-0', 'd', ''],
    ['EVAL', 'return 0', '0'],
    ['EVALSHA', '', '0'],
    // The value is missing.
    ['HSET', figures, 'f', '0', 'f'],
    ['HDEL', figures, 'f'],
    ['HMGET', figures, 'f'],
    ['PEXPIRE', figures, '1'],
    ['ZADD', who, 'XX', '0', ''],
    ['ZRANGE', who, '0', '0'],
    ['ZREMRANGEBYSCORE', who, '1', '0'],
  ];
  return publishes ? [...commands, ['SPUBLISH', stream, '']] : [...commands, ['XREAD', 'STREAMS', stream, '0']];
}

interface Probes {
  readonly stream: string;
  readonly run: string;
  readonly once: string;
  readonly who: string;
  readonly figures: string;
}

/** The commands for the logs of runs, on a key that does not exist. */
function commandsOfRuns(key: string): string[][] {
  return [
    ['TIME'],
    ['XLEN', key],
    ['XRANGE', key, '-', '+'],
    // Redis refuses this id, after it has checked the permissions.
    ['XADD', key, 'NOMKSTREAM', '0-0', 'd', ''],
    ['PEXPIRE', key, '1'],
    ['UNLINK', key],
    ['EVAL', 'return 0', '0'],
    ['EVALSHA', '', '0'],
    ['SPUBLISH', key, ''],
  ];
}

/**
 * Checks that the user of Redis may run all commands that the broker needs for a hub: scripts would only say later that one of them failed.
 * @throws {StreamError} if one is not permitted
 */
export function checkPermissions(connection: Connection, keys: LogKeys, publishes: boolean): Promise<void> {
  const { stream, run, who } = keys;
  const probes = { stream, run, once: keys.once(''), who, figures: keys.figures('') };
  return checkCommands(connection, stream, harmlessCommands(probes, publishes));
}

/**
 * Checks that the user of Redis may run all commands for the logs of runs. Those of a connection that subscribes are checked when it subscribes.
 * @param key a key next to these logs that does not exist
 * @throws {StreamError} if one is not permitted
 */
export function checkRunPermissions(connection: Connection, key: string): Promise<void> {
  return checkCommands(connection, key, commandsOfRuns(key));
}

async function checkCommands(connection: Connection, key: string, commands: readonly string[][]): Promise<void> {
  const answers = commands.map(async (command) => {
    try {
      await connection.request(command);
    } catch (error) {
      // Other answers, such as that the log does not exist, are fine.
      if (textOf(error).startsWith('NOPERM')) {
        throw unusable(
          `The user of Redis may not use ${command[0]} for the key "${key}": ${textOf(error)}. See "Permissions" in the guide "Redis"`,
        );
      }
    }
  });
  await Promise.all(answers);
}
