import { createClient } from 'redis';

/** What other programs send to Redis for an event with a history, with the same driver and the same data. */

/** How many records are kept, about. The same as the minimum of RedisBroker. */
const KEPT = '4096';
const BLOCK_MS = '2000';
const EPOCH = '1';
const TOPIC = 'eu';

/** @param {string} url */
async function connected(url) {
  const client = createClient({ url, commandOptions: { timeout: 60_000 } });
  client.on('error', (error) => {
    throw error;
  });
  await client.connect();
  return client;
}

/**
 * Plain commands: XADD, pipelined by the driver, and XREAD BLOCK.
 * @param {string} url
 * @param {string} key
 * @returns {Promise<import('../worker.mjs').Contestant>}
 */
export async function xadd(url, key) {
  const client = await connected(url);
  const other = await connected(url);
  let open = true;
  // The stream exists before the first XADD NOMKSTREAM.
  await client.sendCommand(['XADD', key, 'MAXLEN', '0', `${EPOCH}-*`, 'd', '']).catch(() => undefined);
  return {
    append: (message) =>
      client.sendCommand([
        ...['XADD', key, 'NOMKSTREAM', 'MAXLEN', '~', KEPT, `${EPOCH}-*`],
        ...['e', 'json', 'd', JSON.stringify(message), 'o', TOPIC, 's', `${Date.now()}`],
      ]),
    async listen(onText) {
      const [[last] = ['0-0']] = /** @type {[string][]} */ (
        await client.sendCommand(['XREVRANGE', key, '+', '-', 'COUNT', '1'])
      );
      let after = last;
      const read = async () => {
        while (open) {
          const answer = /** @type {any} */ (
            await other.sendCommand(['XREAD', 'COUNT', '512', 'BLOCK', BLOCK_MS, 'STREAMS', key, after])
          );
          const records = answer ? (answer[key] ?? answer[0][1]) : [];
          for (const [id, fields] of records) {
            after = id;
            onText(fields[3]);
          }
        }
      };
      read().catch((error) => {
        if (open) throw error;
      });
    },
    end() {
      open = false;
      client.destroy();
      other.destroy();
    },
  };
}

/** A counter, a stream and a message in one script, as Centrifugo appends to a history. */
const SCRIPT = `
local offset = redis.call('HINCRBY', KEYS[1], 'offset', 1)
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[2], offset, 'd', ARGV[1])
redis.call('PUBLISH', ARGV[3], offset .. ':' .. ARGV[1])
return offset
`;

/**
 * A script for each event, and SUBSCRIBE.
 * @param {string} url
 * @param {string} key
 * @returns {Promise<import('../worker.mjs').Contestant>}
 */
export async function script(url, key) {
  const client = await connected(url);
  const other = await connected(url);
  const digest = String(await client.sendCommand(['SCRIPT', 'LOAD', SCRIPT]));
  const channel = `${key}:channel`;
  return {
    append: (message) =>
      client.sendCommand([
        ...['EVALSHA', digest, '2', `${key}:meta`, key],
        ...[JSON.stringify(message), KEPT, channel],
      ]),
    listen: (onText) => other.subscribe(channel, (text) => onText(text.slice(text.indexOf(':') + 1))),
    end() {
      client.destroy();
      other.destroy();
    },
  };
}
