'use strict';
const { createRequire } = require('node:module');
const { Socket } = require('node:net');
const { join } = require('node:path');
const { version } = require('./package.json');

/** Deno and Bun imitate the handles of Node.js, and what they call `fd` need not be one. */
const isSupported = process.platform !== 'win32' && !process.versions.deno && !process.versions.bun;

/** `bytes` are sent to each of the first `count` descriptors. For each, `results` has the number of bytes that were sent, or a negative error number. */
function loadSendAll() {
  const file = join(__dirname, 'build/Release/writer.node');
  try {
    // Hidden from bundlers, which cannot read the file, and would move this one away from it.
    return createRequire(__filename)(file).sendAll;
  } catch (cause) {
    throw new Error(
      `nestjs-streaming-native cannot load ${file} (${cause.message}). "npm rebuild nestjs-streaming-native" builds it: that needs Python, make and a C compiler. ` +
        'A bundler must treat the package as external',
      { cause },
    );
  }
}

const sendAll = isSupported ? loadSendAll() : undefined;

/** The prototype of the handles of TCP connections, as soon as one was seen. */
let tcpHandle;

function isTcp(handle) {
  const prototype = Object.getPrototypeOf(handle);
  if (prototype !== tcpHandle && prototype?.constructor?.name === 'TCP') {
    tcpHandle = prototype;
  }
  return prototype === tcpHandle;
}

/**
 * Returns the file descriptor of a socket, or -1 if only the socket itself may write: TLS encrypts, a Unix socket or a subclass may do anything, and bytes
 * that wait come first. The number is valid until any other code runs: as soon as the socket is closed, another connection may have it.
 */
function descriptorOf(socket) {
  const handle = socket._handle;
  const isPlain =
    handle !== null &&
    handle !== undefined &&
    Object.getPrototypeOf(socket) === Socket.prototype &&
    socket.write === Socket.prototype.write &&
    isTcp(handle);
  // A socket is not writable after end() or destroy(). A write restarts an idle timeout, which only the socket itself can do.
  const isReady =
    isPlain &&
    socket.writable &&
    socket.writableLength === 0 &&
    socket.writableCorked === 0 &&
    !socket.connecting &&
    !socket.timeout;
  const descriptor = isReady ? handle.fd : -1;
  return descriptor > 0 ? descriptor : -1;
}

function createWriter(writeTo) {
  let descriptors = new Int32Array(0);
  let results = new Int32Array(0);

  /** Hands what was not sent to the sockets. They may run code of the application, so that no descriptor is used after this. */
  function writeRest(sockets, bytes) {
    const rest = [];
    for (let i = 0; i < sockets.length; i++) {
      if (results[i] !== bytes.length) {
        // After an error, the socket writes all bytes: it finds the same error, and reports it.
        rest.push({ index: i, sent: Math.max(results[i], 0) });
      }
    }
    const full = rest.filter(({ index, sent }) => writeTo(sockets[index], sent > 0 ? bytes.subarray(sent) : bytes));
    return full.length > 0 ? full.map(({ index }) => index) : undefined;
  }

  return (sockets, bytes) => {
    const count = sockets.length;
    if (count > descriptors.length) {
      descriptors = new Int32Array(count);
      results = new Int32Array(count);
    }
    for (let i = 0; i < count; i++) {
      descriptors[i] = descriptorOf(sockets[i]);
    }
    return sendAll(descriptors, count, bytes, results) > 0 ? writeRest(sockets, bytes) : undefined;
  };
}

exports.contract = 1;
exports.version = version;
exports.createWriter = isSupported ? createWriter : undefined;
