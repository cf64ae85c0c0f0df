import { hasAdapter, hasNative } from '../servers/build.mjs';

/**
 * @typedef {object} PairedContestant
 * @property {string} name
 * @property {readonly [file: string, name: string]} server what the module of the servers exports under that name
 * @property {string} path
 * @property {import('../servers/build.mjs').Variant} [variant] of this package
 * @property {number} [chunks] of a fast stream: fewer if each takes longer
 * @property {string} [gathered] the gathered raw loop that it is compared with
 * @property {string} [plain] the plain reply that it is compared with
 * @property {string} [nest] the contestant of Nest for the same task
 * @property {string} [floor] the least code for the same task
 * @property {string} [otherBuild] the same contestant of the other build
 */
/** @typedef {PairedContestant & { rounds: Record<string, number>[] }} Measured a contestant, and what was measured in each block */
/** @typedef {{ only?: readonly string[], other?: boolean }} Choice parts of names, and whether there is another build */

const GATHERED = 'raw net.Socket, gathered';
const PLAIN_EXPRESS = 'Nest plain reply, Express';
const PLAIN_FASTIFY = 'Nest plain reply, Fastify';
const NEST_EXPRESS = 'Nest generator route, Express';
const NEST_FASTIFY = 'Nest generator route, Fastify';
const WRITER_SYNC = 'node:http, gathered, sync generator';
const WRITER_ASYNC = 'node:http, gathered, async generator';
const ONE_BUFFER = 'raw net.Socket, one Buffer';
const STRINGIFY = 'JSON.stringify()';
const NEST_IMPORT = 'Nest and its platform for Express, import()';

/** This package on each platform, with the name of what creates its server. */
const OURS = [
  { name: 'ours, Express', server: /** @type {const} */ (['ours', 'oursExpress']) },
  { name: 'ours, Express with the adapter', server: /** @type {const} */ (['ours', 'oursAdapter']) },
  { name: 'ours, Fastify', server: /** @type {const} */ (['ours', 'oursFastify']) },
];
const NATIVE = OURS.map((each) => ({
  ...each,
  name: `${each.name}, native writer`,
  variant: /** @type {const} */ ('native'),
}));
const [EXPRESS, ADAPTER, FASTIFY] = OURS;

/** @param {{ name: string, server: readonly [string, string] }} ours */
const bothKinds = ({ name, server }) => [
  { name: `${name}, async generator`, server, path: '/async' },
  { name: `${name}, sync generator`, server, path: '/sync' },
];

/** @param {readonly PairedContestant[]} contestants */
const short = (contestants) =>
  contestants.map((each) => (each.path === '/plain' ? each : { ...each, path: `${each.path}/10` }));

/** @type {Record<string, readonly PairedContestant[]>} */
const CONTESTANTS = {
  fanout: [{ name: GATHERED, server: /** @type {const} */ (['raw', 'gathered']) }, ...OURS, ...NATIVE].map((each) => ({
    path: '/listen',
    gathered: GATHERED,
    ...each,
  })),
  'short, Express': short([
    { name: PLAIN_EXPRESS, server: ['nest', 'nestExpress'], path: '/plain' },
    { name: `${PLAIN_EXPRESS} with the adapter`, server: ADAPTER.server, path: '/plain' },
    ...bothKinds(EXPRESS),
    ...bothKinds(ADAPTER),
    { name: NEST_EXPRESS, server: ['nest', 'nestExpress'], path: '/async' },
  ]).map((each) => ({ plain: PLAIN_EXPRESS, ...each })),
  'short, Fastify': short([
    { name: PLAIN_FASTIFY, server: ['nest', 'nestFastify'], path: '/plain' },
    ...bothKinds(FASTIFY),
    { name: NEST_FASTIFY, server: ['nest', 'nestFastify'], path: '/async' },
  ]).map((each) => ({ plain: PLAIN_FASTIFY, ...each })),
  fast: /** @type {readonly PairedContestant[]} */ ([
    { name: WRITER_ASYNC, server: ['raw', 'http'], path: '/async' },
    { name: WRITER_SYNC, server: ['raw', 'http'], path: '/sync' },
    ...OURS.flatMap(bothKinds),
    { name: NEST_EXPRESS, server: ['nest', 'nestExpress'], path: '/async', chunks: 10_000 },
    { name: NEST_FASTIFY, server: ['nest', 'nestFastify'], path: '/async', chunks: 10_000 },
  ]).map((each) => ({
    chunks: 40_000,
    floor: each.path === '/sync' ? WRITER_SYNC : WRITER_ASYNC,
    nest: each.name.includes('Fastify') ? NEST_FASTIFY : NEST_EXPRESS,
    ...each,
  })),
  resume: [{ name: ONE_BUFFER, server: /** @type {const} */ (['raw', 'replayed']) }, ...OURS].map((each) => ({
    path: '/listen',
    floor: ONE_BUFFER,
    ...each,
  })),
  publish: [
    { name: STRINGIFY, server: /** @type {const} */ (['publish', 'stringify']) },
    { name: 'ours, publish(), one after the other', server: /** @type {const} */ (['publish', 'one']) },
    { name: 'ours, publish(), ten at once', server: /** @type {const} */ (['publish', 'ten']) },
  ].map((each) => ({ path: '', floor: STRINGIFY, ...each })),
  'idle-loop': OURS.map((each) => ({ path: '/listen', ...each })),
  import: [
    { name: NEST_IMPORT, server: /** @type {const} */ (['import', 'import']) },
    { name: 'ours, import()', server: /** @type {const} */ (['import', 'import']) },
    { name: 'ours, require()', server: /** @type {const} */ (['import', 'require']) },
  ].map((each) => ({ path: '', floor: NEST_IMPORT, ...each })),
};

/**
 * Leaves out what does not exist here, and adds the contestants of the other build.
 * @param {string} part
 * @param {Choice} choice
 * @returns {PairedContestant[]}
 */
export function contestantsOf(part, { only, other }) {
  const both = CONTESTANTS[part].flatMap((each) => {
    const name = each.name.replace('ours', 'other build');
    return other && name !== each.name && each.variant === undefined
      ? [
          { ...each, otherBuild: name },
          { ...each, name, variant: /** @type {const} */ ('other') },
        ]
      : [each];
  });
  const bases = new Set(both.flatMap(({ gathered, plain, nest, floor }) => [gathered, plain, nest, floor]));
  return both.filter(
    ({ name, server: [, create], variant }) =>
      (create !== 'oursAdapter' || hasAdapter(variant === 'other' ? 'other' : undefined)) &&
      (variant !== 'native' || hasNative()) &&
      (bases.has(name) || (only?.some((part) => name.includes(part)) ?? true)),
  );
}

/** Says what is not measured, because it is not there. */
export function missing() {
  const lines = [
    ...(hasAdapter() ? [] : ['The build has no entry `nestjs-streaming/express`']),
    ...(hasNative() ? [] : ['The package `nestjs-streaming-native` is not installed']),
  ];
  return lines.map((line) => `**${line}: its rows and targets are left out.**\n`).join('\n');
}
