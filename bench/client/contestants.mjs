/**
 * @callback Receive
 * Receives a stream. Returns a function that stops it.
 * @param {string} url
 * @param {(data: unknown) => void} onData called with the data of each event, which is parsed from JSON
 * @returns {() => void}
 */
/**
 * @typedef {object} ClientContestant
 * @property {string} name
 * @property {readonly [file: string, name: string]} receiver what `receivers/<file>.mjs` exports under that name
 * @property {'sse' | 'ndjson' | 'json-seq' | 'ws'} format
 * @property {string} raw the least code for the same format, or for lines of JSON
 * @property {readonly string[]} [flags] of Node.js
 * @property {readonly ('ended' | 'cut')[]} again after which end of a response it connects again
 * @property {string} [bundle] a module that exports what an application needs of it, for esbuild. Its size is not measured without one
 */

const RAW = {
  sse: 'SSE: raw loop',
  ndjson: 'NDJSON: raw loop',
  'json-seq': 'NDJSON: raw loop',
  ws: 'WebSocket: raw ws',
};
const BOTH = /** @type {const} */ (['cut', 'ended']);
const OURS = "export { connect } from 'nestjs-streaming/client'";

/** @param {readonly (Omit<ClientContestant, 'raw' | 'again'> & Partial<ClientContestant>)[]} list @returns {readonly ClientContestant[]} */
const compared = (list) => list.map((contestant) => ({ again: [], raw: RAW[contestant.format], ...contestant }));

export const CLIENTS = compared([
  {
    name: RAW.sse,
    receiver: ['raw', 'sse'],
    format: 'sse',
    again: BOTH,
    bundle: "export { sse } from './receivers/raw.mjs'",
  },
  { name: 'SSE: ours', receiver: ['ours', 'sse'], format: 'sse', again: BOTH, bundle: OURS },
  {
    name: 'SSE: eventsource-parser, createParser()',
    receiver: ['eventsource-parser', 'parser'],
    format: 'sse',
    bundle: "export { createParser } from 'eventsource-parser'",
  },
  {
    name: 'SSE: eventsource-parser, as a stream',
    receiver: ['eventsource-parser', 'stream'],
    format: 'sse',
    bundle: "export { EventSourceParserStream } from 'eventsource-parser/stream'",
  },
  {
    name: 'SSE: eventsource',
    receiver: ['event-source', 'eventsource'],
    format: 'sse',
    again: BOTH,
    bundle: "export { EventSource } from 'eventsource'",
  },
  {
    name: 'SSE: @microsoft/fetch-event-source',
    receiver: ['fetch-event-source', 'receive'],
    format: 'sse',
    again: BOTH,
    bundle: "export { fetchEventSource } from '@microsoft/fetch-event-source'",
  },
  {
    name: 'SSE: hey-api',
    receiver: ['hey-api', 'receive'],
    format: 'sse',
    again: ['cut'],
    bundle:
      "export { createSseClient } from '../node_modules/@hey-api/openapi-ts/dist/clients/core/serverSentEvents.ts'",
  },
  {
    name: 'SSE: EventSource of Node.js (undici)',
    receiver: ['event-source', 'undici'],
    format: 'sse',
    flags: ['--experimental-eventsource', '--no-warnings'],
    again: ['ended'],
  },
  {
    name: RAW.ndjson,
    receiver: ['raw', 'ndjson'],
    format: 'ndjson',
    bundle: "export { ndjson } from './receivers/raw.mjs'",
  },
  { name: 'NDJSON: ours', receiver: ['ours', 'ndjson'], format: 'ndjson' },
  { name: 'json-seq: ours', receiver: ['ours', 'jsonSeq'], format: 'json-seq' },
  { name: RAW.ws, receiver: ['ws', 'raw'], format: 'ws' },
  { name: 'WebSocket: ours', receiver: ['ours', 'ws'], format: 'ws' },
]);
