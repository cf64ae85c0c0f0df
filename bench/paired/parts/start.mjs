import { once } from 'node:events';
import { Server as HttpServer } from 'node:http';

const NATIVE = 'NESTJS_STREAMING_NATIVE';
const KEEP_ALIVE_MS = 600_000;

/**
 * Starts the server of a contestant in this process. Only one is started at a time: whether a build uses the native writer depends on the environment.
 * @param {'servers' | 'fanout/servers'} folder
 * @param {import('../contestants.mjs').PairedContestant} contestant
 */
export async function start(folder, { name, server: [file, create], path, variant, chunks = 0 }) {
  if (variant === 'native') {
    delete process.env[NATIVE];
  } else {
    process.env[NATIVE] = 'off';
  }
  const module = await import(`../../${folder}/${file}.mjs${variant ? `?${variant}` : ''}`);
  const created = await module[create]();
  /** @type {import('node:net').Server} */
  const server = created.server ?? created;
  if (server instanceof HttpServer) {
    // On a busy machine, it may take longer than the default of 5 s until it is the turn of a contestant again.
    server.keepAliveTimeout = KEEP_ALIVE_MS;
  }
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = /** @type {import('node:net').AddressInfo} */ (server.address());
  /** @type {(message: object) => any} */
  const publish = created.publish;
  return { name, path, chunks, port: address.port, publish };
}

/**
 * Starts the servers of contestants, each of them once, whatever the number of contestants that use it.
 * @param {readonly import('../contestants.mjs').PairedContestant[]} contestants
 */
export async function startAll(contestants) {
  /** @type {Map<string, Awaited<ReturnType<typeof start>>>} */
  const started = new Map();
  const all = [];
  for (const contestant of contestants) {
    const key = [...contestant.server, contestant.variant].join();
    const server = started.get(key) ?? (await start('servers', contestant));
    started.set(key, server);
    all.push({ ...server, path: contestant.path, chunks: contestant.chunks ?? 0 });
  }
  return all;
}
