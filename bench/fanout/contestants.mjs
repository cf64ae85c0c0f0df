import { isInstalled } from './servers/nchan.mjs';

/**
 * @typedef {object} FanoutContestant
 * @property {string} name
 * @property {readonly [file: string, name: string]} server what `servers/<file>.mjs` exports under that name
 * @property {string} path
 * @property {'sse' | 'sseOnKeptAlive' | 'ws' | 'socketIo'} protocol
 * @property {'express' | 'fastify'} [platform]
 * @property {string} floor the raw socket it is compared with
 * @property {string} gathered the raw socket with the same gathering
 * @property {string} [nest] what Nest has for it
 * @property {string} betterSse
 * @property {string} nchan
 */

const FLOOR = 'raw net.Socket';
const GATHERED = 'raw net.Socket, gathered';
const BETTER_SSE = 'better-sse channel';
const NCHAN = 'nchan (nginx)';

const sse = /** @type {const} */ ({ path: '/listen', protocol: 'sse' });

/** @type {readonly FanoutContestant[]} */
const ALL = [
  { name: FLOOR, server: ['raw', 'each'], ...sse },
  { name: GATHERED, server: ['raw', 'gathered'], ...sse },
  { name: 'ours, Express', server: ['ours', 'oursExpress'], platform: 'express', ...sse },
  { name: 'ours, Fastify', server: ['ours', 'oursFastify'], platform: 'fastify', ...sse },
  { name: BETTER_SSE, server: ['peers', 'betterSse'], ...sse },
  { name: 'Nest @Sse, Express', server: ['nest', 'nestExpress'], platform: 'express', ...sse },
  { name: 'Nest @Sse, Fastify', server: ['nest', 'nestFastify'], platform: 'fastify', ...sse },
  { name: '@fastify/sse', server: ['peers', 'fastifySse'], ...sse },
  { name: 'ws', server: ['peers', 'ws'], path: '/', protocol: 'ws' },
  {
    name: 'socket.io',
    server: ['peers', 'socketIo'],
    path: '/socket.io/?EIO=4&transport=websocket',
    protocol: 'socketIo',
  },
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

/**
 * @param {readonly string[] | undefined} only parts of names, or all
 * @returns {readonly FanoutContestant[]}
 */
export function contestants(only) {
  if (!isInstalled) {
    console.log(
      '**nchan is MISSING: no nginx with libnginx-mod-nchan is installed here. Its rows and targets are left out.**\n',
    );
  }
  return ALL.filter(
    ({ name }) => (name !== NCHAN || isInstalled) && (only === undefined || only.some((part) => name.includes(part))),
  );
}
