/**
 * @typedef {object} TokensContestant
 * @property {string} name
 * @property {readonly [file: string, name: string]} program what `servers/<file>.mjs` exports under that name
 * @property {boolean} [elsewhere] whether the viewers are on another process than the producers
 * @property {boolean} [redis] whether it needs Redis
 * @property {string} each the contestant that writes each token
 * @property {string} gathered the contestant that gathers tokens for 20 ms
 * @property {string} peer the peer with the same task
 */

const EACH = 'node:http, a write per token';
const GATHERED = 'node:http, gathered for 20 ms';
const AI_SDK = 'AI SDK, pipeUIMessageStreamToResponse()';
const RESUMABLE = 'resumable-stream';
const RESUMABLE_ELSEWHERE = 'resumable-stream, viewed elsewhere';

/** @param {readonly Partial<TokensContestant>[]} list @returns {readonly TokensContestant[]} */
const compared = (list) =>
  list.map((contestant) => ({
    each: EACH,
    gathered: GATHERED,
    peer: contestant.elsewhere ? RESUMABLE_ELSEWHERE : contestant.redis ? RESUMABLE : AI_SDK,
    ...contestant,
  }));

const ROUTE = { name: 'ours, route', program: ['ours', 'plain'] };
const ROUTE_EACH = { name: "ours, route, flush: 'each'", program: ['ours', 'plainEach'] };
const MEMORY = { name: 'ours, run in memory', program: ['ours', 'memory'] };
const MEMORY_EACH = { name: "ours, run in memory, flush: 'each'", program: ['ours', 'memoryEach'] };
const REDIS = { name: 'ours, run on Redis', program: ['ours', 'redis'], redis: true };
const REDIS_EACH = { name: "ours, run on Redis, flush: 'each'", program: ['ours', 'redisEach'], redis: true };
const RUN_RESUMABLE = { name: RESUMABLE, program: ['peers', 'resumable'], redis: true };

/** Tokens at a rate. */
export const STREAMS = compared([
  { name: EACH, program: ['raw', 'each'] },
  { name: GATHERED, program: ['raw', 'gathered'] },
  { name: AI_SDK, program: ['peers', 'aiSdk'] },
  ROUTE,
  ROUTE_EACH,
  MEMORY,
  MEMORY_EACH,
  RUN_RESUMABLE,
  REDIS,
  REDIS_EACH,
  { ...RUN_RESUMABLE, name: RESUMABLE_ELSEWHERE, elsewhere: true },
  { ...REDIS, name: 'ours, run on Redis, viewed elsewhere', elsewhere: true },
]);

/** The time to the first byte, of a new answer and of one that is in progress. */
export const LATENCIES = compared([{ name: EACH, program: ['raw', 'each'] }, ROUTE, MEMORY, RUN_RESUMABLE, REDIS]);

/** The memory of answers without viewers. */
export const KEPT = compared([MEMORY, RUN_RESUMABLE, REDIS]);

/** The whole of a long answer. The first one has no history: its answer is new. */
export const REPLAYS = compared([
  { name: GATHERED, program: ['raw', 'gathered'] },
  ROUTE,
  MEMORY,
  REDIS,
  { ...REDIS, name: 'ours, run on Redis, viewed elsewhere', elsewhere: true },
]);
