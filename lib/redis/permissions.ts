import { textOf } from '../util/error-text.js';
import type { Connection } from './connection.js';
import type { LogKeys } from './log-keys.js';
import { unusable } from './redis-errors.js';

/** The commands that the broker uses, with arguments that change nothing. */
function harmlessCommands({ stream, run, once, wake, who }: Probes, publishes: boolean): string[][] {
  const commands = [
    ['INFO', 'server'],
    ['TIME'],
    ['XINFO', 'STREAM', stream],
    ['XRANGE', stream, '-', '-'],
    ['GET', run],
    ['SET', once, '', 'XX'],
    // Redis refuses this id, after it has checked the permissions.
    ['XADD', stream, 'NOMKSTREAM', '0-0', 'd', ''],
    ['HGETALL', who],
    ['HMGET', who, ''],
    ['HDEL', who, ''],
    // A value is missing.
    ['HSET', who, '', '', ''],
    ['DEL', wake],
    ['PEXPIRE', wake, '1'],
    ['EVAL', 'return 0', '0'],
    ['EVALSHA', '', '0'],
  ];
  return publishes ? [...commands, ['SPUBLISH', stream, '']] : [...commands, ['XREAD', 'STREAMS', stream, '0']];
}

interface Probes {
  readonly stream: string;
  readonly run: string;
  readonly once: string;
  readonly wake: string;
  readonly who: string;
}

/**
 * Checks that the user of Redis may run all commands that the broker needs: scripts would only say later that one of them failed.
 * @throws {StreamError} if one is not permitted
 */
export async function checkPermissions(connection: Connection, keys: LogKeys, publishes: boolean): Promise<void> {
  const probes = { stream: keys.stream, run: keys.run, once: keys.once(''), wake: keys.wake(''), who: keys.who };
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
