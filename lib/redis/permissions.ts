import { textOf } from '../util/error-text.js';
import type { Connection } from './connection.js';
import type { KnownLog } from './known-log.js';
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

/** The commands for a history of each topic. */
function commandsOfTopics(stream: string, index: string): string[][] {
  return [
    ['XLEN', stream],
    ['XREVRANGE', stream, '-', '-'],
    // Redis refuses this id, after it has checked the permissions.
    ['XADD', stream, 'NOMKSTREAM', '0-0', 'd', ''],
    ['PEXPIRE', `${stream}:check`, '1'],
    ['EXISTS', stream],
    ['UNLINK', `${stream}:check`],
    ['ZADD', index, 'XX', '0', ''],
    ['ZSCORE', index, ''],
    ['ZMSCORE', index, ''],
    ['ZREM', index, ''],
    ['SPUBLISH', stream, ''],
  ];
}

/**
 * Checks that the user of Redis may run all commands that the broker needs for a hub: scripts would only say later that one of them failed.
 * @throws {StreamError} if one is not permitted
 */
export function checkPermissions(
  connection: Connection,
  { keys, retention }: KnownLog,
  publishes: boolean,
): Promise<void> {
  const { stream, run, who, index } = keys;
  const probes = { stream, run, once: keys.once(''), who, figures: keys.figures('') };
  const commands = harmlessCommands(probes, publishes);
  const topics = retention.all === undefined ? [] : commandsOfTopics(keys.topic(''), index);
  return checkCommands(connection, stream, [...commands, ...topics]);
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
