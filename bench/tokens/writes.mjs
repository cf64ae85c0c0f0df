/** The methods of a handle of libuv that write. Each call is one system call, unless the kernel takes only a part. */
const METHODS = [
  'writev',
  'writeBuffer',
  'writeUtf8String',
  'writeAsciiString',
  'writeLatin1String',
  'writeUcs2String',
];

let count = 0;

/** @param {any} socket */
function watch({ _handle: handle }) {
  for (const method of METHODS) {
    const write = handle[method];
    handle[method] = (/** @type {unknown[]} */ ...args) => {
      count++;
      return write.apply(handle, args);
    };
  }
}

/**
 * Counts the writes to all connections that a server accepts from now on, or stops to do so. Returns the number until now.
 * @param {import('node:http').Server} server
 * @param {boolean} stop
 */
export function countWrites(server, stop) {
  server[stop ? 'off' : 'on']('connection', watch);
  return count;
}
