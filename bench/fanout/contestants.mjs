import { hasAdapter } from '../servers/build.mjs';
import { isInstalled } from './servers/nchan.mjs';

/**
 * @typedef {object} FanoutContestant
 * @property {string} name
 * @property {readonly [file: string, name: string]} server what `servers/<file>.mjs` exports under that name
 * @property {string} path
 * @property {'sse' | 'sseOnKeptAlive' | 'gzip' | 'ws' | 'socketIo'} protocol
 * @property {'express' | 'fastify'} [platform]
 * @property {string} floor the raw socket it is compared with
 * @property {string} gathered the raw socket with the same gathering
 * @property {string} [nest] the contestant of Nest for the same task
 * @property {string} [betterSse]
 * @property {string} [nchan]
 * @property {string} [shared] ws with one frame for all, or zlib with one block for all
 * @property {string} [own] ws, or zlib, with a frame or a stream for each client
 */
/** @typedef {'fanout' | 'fanout-ws' | 'fanout-gzip'} Group the contestants that are compared with each other */

const FLOOR = 'raw net.Socket';
const GATHERED = 'raw net.Socket, gathered';
const BETTER_SSE = 'better-sse channel';
const NCHAN = 'nchan (nginx)';

const WS_SHARED = 'ws, one shared frame';
const WS_OWN = 'ws, send(string)';
const BLOCK_SHARED = 'raw net.Socket, one shared gzip block';
const ZLIB_OWN = 'raw net.Socket, a gzip stream each';

const sse = /** @type {const} */ ({ path: '/listen', protocol: 'sse' });
const ws = /** @type {const} */ ({ path: '/listen', protocol: 'ws' });
const gzip = /** @type {const} */ ({ path: '/listen', protocol: 'gzip' });

/** @type {FanoutContestant} */
const SOCKET_IO = {
  name: 'socket.io',
  server: ['peers', 'socketIo'],
  path: '/socket.io/?EIO=4&transport=websocket',
  protocol: 'socketIo',
  floor: FLOOR,
  gathered: GATHERED,
};

/** @type {readonly FanoutContestant[]} */
const SSE = [
  { name: FLOOR, server: ['raw', 'each'], ...sse },
  { name: GATHERED, server: ['raw', 'gathered'], ...sse },
  { name: 'ours, Express', server: ['ours', 'oursExpress'], platform: 'express', ...sse },
  { name: 'ours, Fastify', server: ['ours', 'oursFastify'], platform: 'fastify', ...sse },
  { name: 'ours, Express with the adapter', server: ['ours', 'oursAdapter'], platform: 'express', ...sse },
  { name: BETTER_SSE, server: ['peers', 'betterSse'], ...sse },
  { name: 'Nest @Sse, Express', server: ['nest', 'nestExpress'], platform: 'express', ...sse },
  { name: 'Nest @Sse, Fastify', server: ['nest', 'nestFastify'], platform: 'fastify', ...sse },
  { name: '@fastify/sse', server: ['peers', 'fastifySse'], ...sse },
  { name: 'ws', server: ['peers', 'ws'], path: '/', protocol: 'ws' },
  SOCKET_IO,
  { name: NCHAN, server: ['nchan', 'nchan'], path: '/listen', protocol: 'sseOnKeptAlive' },
].map((contestant) => ({
  floor: FLOOR,
  gathered: GATHERED,
  betterSse: BETTER_SSE,
  nchan: NCHAN,
  ...('platform' in contestant
    ? { nest: `Nest @Sse, ${contestant.platform === 'express' ? 'Express' : 'Fastify'}` }
    : {}),
  ...contestant,
}));

/** @type {readonly FanoutContestant[]} */
const WEBSOCKET = [
  { name: FLOOR, server: ['raw', 'webSocketEach'], ...ws },
  { name: GATHERED, server: ['raw', 'webSocketGathered'], ...ws },
  { name: 'ours, Express', server: ['ours', 'webSocketExpress'], platform: 'express', ...ws },
  { name: 'ours, Fastify', server: ['ours', 'webSocketFastify'], platform: 'fastify', ...ws },
  { name: WS_OWN, server: ['websockets', 'sendString'], ...ws },
  { name: WS_SHARED, server: ['websockets', 'sharedFrame'], ...ws },
  { name: `${WS_SHARED}, gathered`, server: ['websockets', 'sharedFrameGathered'], ...ws },
  SOCKET_IO,
].map((contestant) => ({ floor: FLOOR, gathered: GATHERED, shared: WS_SHARED, own: WS_OWN, ...contestant }));

/** The lower limit is the time without compression. @type {readonly FanoutContestant[]} */
const GZIP = [
  { name: FLOOR, server: ['raw', 'each'], ...sse },
  { name: GATHERED, server: ['raw', 'gathered'], ...sse },
  { name: BLOCK_SHARED, server: ['compressed', 'sharedBlock'], ...gzip },
  { name: 'ours, Express', server: ['ours', 'gzipExpress'], platform: 'express', ...gzip },
  { name: 'ours, Fastify', server: ['ours', 'gzipFastify'], platform: 'fastify', ...gzip },
  { name: ZLIB_OWN, server: ['compressed', 'streamEach'], ...gzip },
  { name: 'Express with compression', server: ['compressed', 'expressCompression'], ...gzip },
].map((contestant) => ({ floor: FLOOR, gathered: GATHERED, shared: BLOCK_SHARED, own: ZLIB_OWN, ...contestant }));

const GROUPS = { fanout: SSE, 'fanout-ws': WEBSOCKET, 'fanout-gzip': GZIP };

/**
 * @param {Group} group
 * @param {readonly string[] | undefined} only parts of names, or all
 * @returns {readonly FanoutContestant[]}
 */
export function contestants(group, only) {
  if (group === 'fanout' && !isInstalled) {
    console.log(
      '**nchan is MISSING: no nginx with libnginx-mod-nchan is installed here. Its rows and targets are left out.**\n',
    );
  }
  return GROUPS[group].filter(
    ({ name, server: [, create] }) =>
      (name !== NCHAN || isInstalled) &&
      (create !== 'oursAdapter' || hasAdapter()) &&
      (only === undefined || only.some((part) => name.includes(part))),
  );
}

const SCATTERED_FLOOR = 'raw net.Socket, a client for each message';

/** Every client has a topic of its own. */
export const SCATTERED = [
  { name: SCATTERED_FLOOR, server: /** @type {const} */ (['raw', 'scattered']) },
  { name: 'ours, Express', server: /** @type {const} */ (['ours', 'scatteredExpress']) },
  { name: 'ours, Fastify', server: /** @type {const} */ (['ours', 'scatteredFastify']) },
].map((each) => ({ floor: SCATTERED_FLOOR, path: '/listen', protocol: /** @type {const} */ ('sse'), ...each }));
