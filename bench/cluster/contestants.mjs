/** @typedef {readonly [file: string, name: string]} Program what `contestants/<file>.mjs` exports under that name */
/**
 * @typedef {object} ClusterContestant
 * @property {string} name
 * @property {Program} program appends
 * @property {Program} listener listens, in another process
 * @property {string} [xadd] the contestant with plain commands, with which it is compared
 * @property {string} [script] the contestant with a script for each event
 */

const XADD = 'raw XADD';
const SCRIPT = 'raw script, as in Centrifugo';

/** Each appends as fast as possible. @type {readonly Omit<ClusterContestant, 'listener'>[]} */
export const APPENDERS = [
  { name: XADD, program: /** @type {const} */ (['raw', 'xadd']) },
  { name: SCRIPT, program: /** @type {const} */ (['raw', 'script']) },
  { name: 'ours, RedisBroker.append()', program: /** @type {const} */ (['ours', 'broker']) },
  { name: 'ours, hub.publish()', program: /** @type {const} */ (['ours', 'hub']) },
].map((each) => ({ xadd: XADD, script: SCRIPT, ...each }));

const XREAD = 'raw XADD and XREAD';
const SUBSCRIBE = 'raw script and SUBSCRIBE';

/** One process publishes, and another one listens. @type {readonly ClusterContestant[]} */
export const PAIRS = [
  { name: XREAD, program: /** @type {const} */ (['raw', 'xadd']), listener: /** @type {const} */ (['raw', 'xadd']) },
  {
    name: SUBSCRIBE,
    program: /** @type {const} */ (['raw', 'script']),
    listener: /** @type {const} */ (['raw', 'script']),
  },
  {
    name: 'ours',
    program: /** @type {const} */ (['ours', 'hub']),
    listener: /** @type {const} */ (['ours', 'hub']),
  },
  {
    name: "ours, tail: 'pubsub'",
    program: /** @type {const} */ (['ours', 'pubsub']),
    listener: /** @type {const} */ (['ours', 'pubsub']),
  },
].map((each) => ({ xadd: XREAD, script: SUBSCRIBE, ...each }));

const FLOOR = 'raw SUBSCRIBE and net.Socket, gathered';

/** Four processes with clients. The names are exports of `fanout/servers/redis.mjs`. */
export const FLEETS = [
  { name: FLOOR, server: 'raw', publisher: 'rawPublisher', floor: FLOOR },
  { name: 'ours, Fastify', server: 'ours', publisher: 'oursPublisher', floor: FLOOR },
];
