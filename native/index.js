'use strict';
const { createRequire } = require('node:module');
const { Socket } = require('node:net');
const { join } = require('node:path');
const { Writable } = require('node:stream');
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

/**
 * The method of Node.js, which sockets inherit as a copy in `Duplex.prototype`. A tool that replaces it in a socket, in `Socket.prototype` or in `Duplex.prototype` makes it
 * another one, also before this module is loaded.
 */
const { write } = Writable.prototype;

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
    socket.write === write &&
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
  return descriptor >= 0 ? descriptor : -1;
}

function createWriter(writeTo) {
  let descriptors = new Int32Array(0);
  let results = new Int32Array(0);

  /** Hands what was not sent to the sockets. They may run code of the application, so that no descriptor is used after this. */
  function writeRest(sockets, bytes) {
    const begun = [];
    const untouched = [];
    for (let i = 0; i < sockets.length; i++) {
      if (results[i] > 0 && results[i] < bytes.length) {
        begun.push({ index: i, rest: bytes.subarray(results[i]) });
      } else if (results[i] !== bytes.length) {
        // After an error, the socket writes all bytes: it finds the same error, and reports it.
        untouched.push({ index: i, rest: bytes });
      }
    }
    // A replaced write() of another socket may write to any socket: that must not get between the two parts of the bytes.
    const full = [...begun, ...untouched].filter(({ index, rest }) => writeTo(sockets[index], rest));
    return full.length > 0 ? full.map(({ index }) => index).sort((a, b) => a - b) : undefined;
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
