import { hasAdapter, hasNative } from '../servers/build.mjs';

/**
 * @typedef {object} PairedContestant
 * @property {string} name
 * @property {readonly [file: string, name: string]} server what the module of the servers exports under that name
 * @property {string} path
 * @property {boolean} [other] of the build that is given with `--other`
 * @property {string} [gathered] the gathered raw loop that it is compared with
 * @property {string} [plain] the plain reply that it is compared with
 * @property {string} [nest]
 * @property {string} [otherBuild] the same contestant of the other build
 */
/** @typedef {PairedContestant & { rounds: Record<string, number>[] }} Measured a contestant, and what was measured in each block */

const GATHERED = 'raw net.Socket, gathered';

/** @type {readonly PairedContestant[]} */
const FANOUT = [
  { name: GATHERED, server: ['raw', 'gathered'], path: '/listen', gathered: GATHERED },
  ...[
    { name: 'ours, Express', create: 'oursExpress' },
    { name: 'ours, Express with the adapter', create: 'oursAdapter' },
    { name: 'ours, Fastify', create: 'oursFastify' },
  ].map(({ name, create }) => ({
    name,
    server: /** @type {const} */ (['ours', create]),
    path: '/listen',
    gathered: GATHERED,
  })),
];

const PLAIN_EXPRESS = 'Nest plain reply, Express';
const PLAIN_FASTIFY = 'Nest plain reply, Fastify';

/**
 * Express gives every request a hidden class of its own, which makes `node:http` slower for everything in the process. So Fastify is measured in another one.
 * @type {Record<'Express' | 'Fastify', readonly PairedContestant[]>}
 */
const SHORT = {
  Express: [
    { name: PLAIN_EXPRESS, server: ['nest', 'nestExpress'], path: '/plain' },
    { name: 'Nest plain reply, Express with the adapter', server: ['ours', 'oursAdapter'], path: '/plain' },
    { name: 'ours, Express, async generator', server: ['ours', 'oursExpress'], path: '/async/10' },
    { name: 'ours, Express, sync generator', server: ['ours', 'oursExpress'], path: '/sync/10' },
    { name: 'ours, Express with the adapter, async generator', server: ['ours', 'oursAdapter'], path: '/async/10' },
    { name: 'ours, Express with the adapter, sync generator', server: ['ours', 'oursAdapter'], path: '/sync/10' },
    { name: 'Nest generator route, Express', server: ['nest', 'nestExpress'], path: '/async/10' },
  ].map((each) => /** @type {PairedContestant} */ ({ ...each, plain: PLAIN_EXPRESS })),
  Fastify: [
    { name: PLAIN_FASTIFY, server: ['nest', 'nestFastify'], path: '/plain' },
    { name: 'ours, Fastify, async generator', server: ['ours', 'oursFastify'], path: '/async/10' },
    { name: 'ours, Fastify, sync generator', server: ['ours', 'oursFastify'], path: '/sync/10' },
    { name: 'Nest generator route, Fastify', server: ['nest', 'nestFastify'], path: '/async/10' },
  ].map((each) => /** @type {PairedContestant} */ ({ ...each, plain: PLAIN_FASTIFY })),
};

/**
 * Leaves out what does not exist in the builds, and adds the contestants of the other build.
 * @param {readonly PairedContestant[]} contestants
 * @param {{ only?: readonly string[], other?: boolean }} options
 * @returns {PairedContestant[]}
 */
function chosen(contestants, { only, other }) {
  const both = contestants.flatMap((each) =>
    other && each.name.startsWith('ours')
      ? [
          { ...each, otherBuild: each.name.replace('ours', 'other build') },
          { ...each, name: each.name.replace('ours', 'other build'), other: true },
        ]
      : [each],
  );
  return both.filter(
    ({ name, gathered, plain, server: [, create], other = false }) =>
      (create !== 'oursAdapter' || hasAdapter(other)) &&
      (name === gathered || name === plain || (only?.some((part) => name.includes(part)) ?? true)),
  );
}

/** @param {{ only?: readonly string[], other?: boolean }} options */
export const fanoutContestants = (options) => chosen(FANOUT, options);

/** @param {'Express' | 'Fastify'} platform @param {{ only?: readonly string[], other?: boolean }} options */
export const shortContestants = (platform, options) => chosen(SHORT[platform], options);

/** Says what is not measured, because it is not there. */
export function missing() {
  const lines = [
    ...(hasAdapter() ? [] : ['The build has no entry `nestjs-streaming/express`']),
    ...(hasNative() ? [] : ['The package `nestjs-streaming-native` is not installed']),
  ];
  return lines.map((line) => `**${line}: its rows and targets are left out.**\n`).join('\n');
}
