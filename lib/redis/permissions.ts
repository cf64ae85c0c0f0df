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

/**
 * Checks that the user of Redis may run all commands that the broker needs: scripts would only say later that one of them failed.
 * @throws {StreamError} if one is not permitted
 */
export async function checkPermissions(connection: Connection, keys: LogKeys, publishes: boolean): Promise<void> {
  const { stream, run, who } = keys;
  const probes = { stream, run, once: keys.once(''), who, figures: keys.figures('') };
  const answers = harmlessCommands(probes, publishes).map(async (command) => {
    try {
      await connection.request(command);
    } catch (error) {
      // Other answers, such as that the log does not exist, are fine.
      if (textOf(error).startsWith('NOPERM')) {
        throw unusable(
          `The user of Redis may not use ${command[0]} for the key "${keys.stream}": ${textOf(error)}. See "Permissions" in the guide "Redis"`,
        );
      }
    }
  });
  await Promise.all(answers);
}
