import { once } from 'node:events';
import { createServer } from 'node:http';
import { Sender, WebSocketServer } from 'ws';

/** The process of the server, which all contestants share. It sends the same events in all formats, as fast as they are read. */

const BLOCK_BYTES = 65_536;
const PACED_MS = 20;
/** Paced streams are spread over this many ticks, so that not all of them receive at once. */
const GROUPS = 4;

/** @typedef {{ mediaType: string, encode: (id: number, json: string) => string }} Format */
/** @type {Record<string, Format>} */
const FORMATS = {
  sse: { mediaType: 'text/event-stream', encode: (id, json) => `id: ${id}\ndata: ${json}\n\n` },
  ndjson: { mediaType: 'application/x-ndjson', encode: (_id, json) => `${json}\n` },
  'json-seq': { mediaType: 'application/json-seq', encode: (_id, json) => `\x1e${json}\n` },
  ws: { mediaType: '', encode: (id, json) => `{"id":"${id}","data":${json}}` },
};

/** Returns JSON of this many bytes: an object with one row for each 100 bytes, and text. */
function jsonOf(/** @type {number} */ bytes, /** @type {number} */ n) {
  const row = { symbol: 'ACME', bid: 4.25 + (n % 100), ask: 4.5 + (n % 100), open: true };
  const rows = Array(Math.max(1, Math.floor(bytes / 100))).fill(row);
  const text = 'x'.repeat(bytes - JSON.stringify({ rows, text: '' }).length);
  return JSON.stringify({ rows, text });
}

/** Returns a block of events, and their number. */
function blockOf(/** @type {string} */ format, /** @type {number} */ bytes) {
  const events = Array.from({ length: Math.floor(BLOCK_BYTES / bytes) }, (_, i) =>
    FORMATS[format].encode(i + 1_000, jsonOf(bytes, i)),
  );
  const frames = format === 'ws' ? events.flatMap(frameOf) : events.map((event) => Buffer.from(event));
  return { block: Buffer.concat(frames), count: events.length };
}

function frameOf(/** @type {string} */ text) {
  return Sender.frame(Buffer.from(text), { fin: true, opcode: 1, mask: false, rsv1: false, readOnly: false });
}

/**
 * Writes blocks until there are enough events.
 * @param {import('node:stream').Writable} out
 * @param {string} format
 * @param {number} bytes
 * @param {number} total
 */
function send(out, format, bytes, total) {
  const { block, count } = blockOf(format, bytes);
  let sent = 0;
  const more = () => {
    let isRoom = true;
    while (isRoom && sent < total && !out.destroyed) {
      sent += count;
      isRoom = out.write(block);
    }
  };
  out.on('drain', more);
  more();
}

/** @type {Set<() => void>[]} */
const paced = Array.from({ length: GROUPS }, () => new Set());
let tick = 0;
setInterval(() => {
  for (const write of paced[tick++ % GROUPS]) {
    write();
  }
}, PACED_MS / GROUPS);

/** Sends one event every 20 milliseconds. */
function pace(/** @type {import('node:stream').Writable} */ out, /** @type {Buffer} */ event) {
  const group = paced.reduce((least, each) => (each.size < least.size ? each : least));
  const write = () => out.write(event);
  group.add(write);
  out.once('close', () => group.delete(write));
}

/**
 * Responds to `/<kind>/<format>/<bytes>/<count>`.
 * @param {string} path
 * @param {import('node:stream').Writable} out
 */
function serve(path, out) {
  const [, kind, format, bytes, count] = path.split('/');
  if (kind === 'stream') {
    send(out, format, Number(bytes), Number(count));
    return;
  }
  const text = FORMATS[format].encode(1_000, jsonOf(Number(bytes), 0));
  const event = format === 'ws' ? Buffer.concat(frameOf(text)) : Buffer.from(text);
  if (kind === 'ended') {
    out.end(`retry: 0\n${event}`);
  } else if (kind === 'cut') {
    out.write(`retry: 0\n${event}`, () => out.destroy());
  } else {
    out.write(event);
    if (kind === 'paced') {
      pace(out, event);
    }
  }
}

const server = createServer((request, response) => {
  const path = request.url ?? '';
  response.writeHead(200, { 'content-type': FORMATS[path.split('/')[2]].mediaType });
  serve(path, response);
});
const sockets = new WebSocketServer({ server, perMessageDeflate: false });
sockets.on('connection', (socket, request) => {
  socket.on('error', () => undefined);
  serve(request.url ?? '', request.socket);
});

process.on('disconnect', () => process.exit());
server.listen(0, '127.0.0.1');
await once(server, 'listening');
process.send?.({ port: /** @type {import('node:net').AddressInfo} */ (server.address()).port });
