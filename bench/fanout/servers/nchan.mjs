import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const MODULES = ['/usr/lib/nginx/modules/ngx_nchan_module.so', '/usr/lib64/nginx/modules/ngx_nchan_module.so'];
const MODULE = MODULES.find((file) => existsSync(file));
/** The unit of times in /proc. */
const TICKS_PER_SECOND = 100;
const PAGE = 4_096;

/** Whether nginx with nchan is installed. */
export const isInstalled = MODULE !== undefined && existsSync('/usr/sbin/nginx');

/** One worker, on a port of 127.0.0.1, with a history of the same length as that of this package. */
const config = (/** @type {string} */ directory, /** @type {number} */ port) => `
load_module ${MODULE};
daemon off;
user ${process.getuid?.() === 0 ? 'root' : (process.env.USER ?? 'nobody')};
worker_processes 1;
worker_rlimit_nofile 16384;
pid ${directory}/nginx.pid;
error_log ${directory}/error.log warn;
events { worker_connections 16000; }
http {
  access_log off;
  client_body_temp_path ${directory}/body;
  proxy_temp_path ${directory}/proxy;
  fastcgi_temp_path ${directory}/fastcgi;
  uwsgi_temp_path ${directory}/uwsgi;
  scgi_temp_path ${directory}/scgi;
  keepalive_requests 1000000000;
  keepalive_timeout 1h;
  tcp_nodelay on;
  nchan_shared_memory_size 256M;
  server {
    listen 127.0.0.1:${port} backlog=4096;
    location = /publish { nchan_publisher; nchan_channel_id bench; nchan_message_buffer_length 1000; nchan_message_timeout 5m; }
    location = /hello { return 204; }
    location = /listen { nchan_subscriber eventsource; nchan_channel_id bench; nchan_subscriber_first_message newest; }
  }
}
`;

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** @param {number} port */
async function connected(port) {
  for (let attempt = 1; ; attempt++) {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true });
    const failed = await new Promise((resolve) => {
      socket.once('connect', () => resolve(undefined)).once('error', resolve);
    });
    if (failed === undefined) {
      return socket;
    }
    if (attempt === 100) {
      throw failed;
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** nginx, which ends with this process. */
async function startNginx() {
  const directory = mkdtempSync(join(tmpdir(), 'bench-nchan-'));
  const port = await freePort();
  writeFileSync(join(directory, 'nginx.conf'), config(directory, port));
  const child = spawn('/usr/sbin/nginx', ['-p', directory, '-c', join(directory, 'nginx.conf')], { stdio: 'inherit' });
  process.on('exit', () => {
    child.kill();
    rmSync(directory, { recursive: true, force: true });
  });
  process.on('SIGTERM', () => process.exit());
  return { port, master: child.pid };
}

/**
 * Sends messages to nginx on one connection. A turn is passed on when all its requests have a response.
 * @param {import('node:net').Socket} socket
 */
function publisherOn(socket) {
  let unanswered = 0;
  let wake = () => undefined;
  socket.on('data', (bytes) => {
    unanswered -= bytes.toString('latin1').split('HTTP/1.1 20').length - 1;
    if (unanswered === 0) {
      wake();
    }
  });
  return {
    /** @param {object} message */
    publish: (message) => {
      const body = JSON.stringify(message);
      unanswered++;
      socket.write(`POST /publish HTTP/1.1\r\nHost: bench\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    },
    handedOver: () =>
      new Promise((resolve) => {
        wake = () => resolve(undefined);
      }),
  };
}

export async function nchan() {
  const { port, master } = await startNginx();
  const socket = await connected(port);
  const [worker] = readFileSync(`/proc/${master}/task/${master}/children`, 'latin1').trim().split(' ');
  return {
    port,
    ...publisherOn(socket),
    cpu: () => {
      const fields = readFileSync(`/proc/${worker}/stat`, 'latin1').split(') ')[1].split(' ');
      return { cpu: ((Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND) * 1e6 };
    },
    memory: () => {
      const [, resident] = readFileSync(`/proc/${worker}/statm`, 'latin1').split(' ');
      return { heap: Number.NaN, rss: Number(resident) * PAGE };
    },
  };
}
