import { hasAdapter } from './servers/build.mjs';

/**
 * @typedef {object} Contestant
 * @property {string} name
 * @property {readonly [file: string, name: string]} server
 * @property {string} path
 * @property {number} [chunks] of the fast stream: fewer if each takes longer
 * @property {'express' | 'fastify'} [platform]
 * @property {string} [floor] the raw socket it is compared with
 * @property {string} [writer] the `node:http` writer it is compared with
 * @property {string} [nest] the contestant of Nest for the same task
 * @property {string} [plain] a plain response of the same platform
 */

const NET = /** @type {const} */ (['raw', 'net']);
const HTTP = /** @type {const} */ (['raw', 'http']);
const NEST = /** @type {const} */ ({ express: ['nest', 'nestExpress'], fastify: ['nest', 'nestFastify'] });
const OURS = /** @type {const} */ ({ express: ['ours', 'oursExpress'], fastify: ['ours', 'oursFastify'] });
const OURS_ADAPTER = /** @type {const} */ (['ours', 'oursAdapter']);
const BETTER_SSE = /** @type {const} */ (['peers', 'betterSse']);
const FASTIFY_SSE = /** @type {const} */ (['peers', 'fastifySse']);
const HONO = /** @type {const} */ (['peers', 'hono']);

const LABEL = { express: 'Express', fastify: 'Fastify' };
const PLATFORMS = /** @type {const} */ (['express', 'fastify']);

/** @param {(platform: 'express' | 'fastify', label: string) => Contestant} make */
const onBoth = (make) => PLATFORMS.map((platform) => ({ platform, ...make(platform, LABEL[platform]) }));

const FLOOR_SYNC = 'raw net.Socket, gathered, sync generator';
const FLOOR_ASYNC = 'raw net.Socket, gathered, async generator';
const WRITER_SYNC = 'node:http, gathered, sync generator';
const WRITER_ASYNC = 'node:http, gathered, async generator';

const sync = { floor: FLOOR_SYNC, writer: WRITER_SYNC };
const async = { floor: FLOOR_ASYNC, writer: WRITER_ASYNC };

/** One fast stream, and many of them. The number of chunks is appended to the path. */
export const FAST = [
  { name: FLOOR_SYNC, server: NET, path: '/sync', chunks: 1_000_000, ...sync },
  { name: WRITER_SYNC, server: HTTP, path: '/sync', chunks: 1_000_000, ...sync },
  ...onBoth((platform, label) => ({
    name: `ours, ${label}, sync generator`,
    server: OURS[platform],
    path: '/sync',
    chunks: 1_000_000,
    nest: `Nest generator route, ${label}`,
    ...sync,
  })),
  { name: FLOOR_ASYNC, server: NET, path: '/async', chunks: 1_000_000, ...async },
  { name: WRITER_ASYNC, server: HTTP, path: '/async', chunks: 1_000_000, ...async },
  ...onBoth((platform, label) => ({
    name: `ours, ${label}, async generator`,
    server: OURS[platform],
    path: '/async',
    chunks: 1_000_000,
    nest: `Nest generator route, ${label}`,
    ...async,
  })),
  ...onBoth((platform, label) => ({
    name: `Nest generator route, ${label}`,
    server: NEST[platform],
    path: '/async',
    chunks: 200_000,
    nest: `Nest generator route, ${label}`,
    ...async,
  })),
  ...onBoth((platform, label) => ({
    name: `Nest @Sse, ${label}`,
    server: NEST[platform],
    path: '/sse',
    chunks: 50_000,
    nest: `Nest generator route, ${label}`,
    ...async,
  })),
  { name: 'better-sse', server: BETTER_SSE, path: '/async', chunks: 100_000, ...async },
  { name: '@fastify/sse', server: FASTIFY_SSE, path: '/async', chunks: 200_000, ...async },
  { name: 'hono streamSSE', server: HONO, path: '/async', chunks: 50_000, ...async },
];

/** Streams of ten chunks. */
export const SHORT = [
  ...onBoth((platform, label) => ({ name: `Nest plain reply, ${label}`, server: NEST[platform], path: '/plain' })),
  ...onBoth((platform, label) => ({
    name: `ours, ${label}, async generator`,
    server: OURS[platform],
    path: '/async/10',
  })),
  ...onBoth((platform, label) => ({
    name: `ours, ${label}, sync generator`,
    server: OURS[platform],
    path: '/sync/10',
  })),
  ...onBoth((platform, label) => ({
    name: `Nest generator route, ${label}`,
    server: NEST[platform],
    path: '/async/10',
  })),
  ...onBoth((platform, label) => ({ name: `Nest @Sse, ${label}`, server: NEST[platform], path: '/sse/10' })),
  { name: WRITER_ASYNC, server: HTTP, path: '/async/10' },
  { name: 'better-sse', server: BETTER_SSE, path: '/async/10' },
  { name: '@fastify/sse', server: FASTIFY_SSE, path: '/async/10', platform: 'fastify' },
  { name: 'hono streamSSE', server: HONO, path: '/async/10' },
].map((contestant) => ({
  writer: WRITER_ASYNC,
  ...('platform' in contestant
    ? {
        plain: `Nest plain reply, ${LABEL[contestant.platform]}`,
        nest: `Nest generator route, ${LABEL[contestant.platform]}`,
      }
    : {}),
  ...contestant,
}));

/** Streams that are open and silent. */
export const IDLE = [
  { name: 'raw net.Socket', server: NET, path: '/idle' },
  { name: 'node:http', server: HTTP, path: '/idle' },
  ...onBoth((platform, label) => ({
    name: `Nest handler that holds the response, ${label}`,
    server: NEST[platform],
    path: '/idle',
  })),
  ...onBoth((platform, label) => ({
    name: `ours, ${label}, generator that waits`,
    server: OURS[platform],
    path: '/idle',
  })),
  ...onBoth((platform, label) => ({
    name: `ours, ${label}, push style`,
    server: OURS[platform],
    path: '/idle-push',
  })),
  ...(hasAdapter()
    ? [
        ['generator that waits', '/idle'],
        ['push style', '/idle-push'],
      ]
    : []
  ).map(([what, path]) => ({
    name: `ours, Express with the adapter, ${what}`,
    server: OURS_ADAPTER,
    path,
    platform: /** @type {const} */ ('express'),
  })),
  ...onBoth((platform, label) => ({ name: `Nest @Sse, ${label}`, server: NEST[platform], path: '/idle-sse' })),
  { name: 'better-sse', server: BETTER_SSE, path: '/idle' },
].map((contestant) => ({
  floor: 'raw net.Socket',
  writer: 'node:http',
  ...('platform' in contestant ? { nest: `Nest @Sse, ${LABEL[contestant.platform]}` } : {}),
  ...contestant,
}));
