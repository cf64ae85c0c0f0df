/*
 * Sends the same bytes to many TCP sockets with one call from JavaScript, on the thread of the event loop.
 *
 * It uses Node-API alone, so that one build serves all versions of Node.js that have version 8 of it. It keeps no state: it may be loaded in
 * several worker threads.
 */
#define NAPI_VERSION 8
#include <node_api.h>

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

/* The number of arguments of sendAll(). */
#define ARGUMENTS 4

#ifdef MSG_NOSIGNAL
#define SEND_FLAGS (MSG_DONTWAIT | MSG_NOSIGNAL)
#else
#define SEND_FLAGS MSG_DONTWAIT
#endif

/* Sends to one socket. Returns the number of bytes that were sent, or a negative error number. Never waits, and never raises SIGPIPE. */
static int32_t send_one(int fd, const char *bytes, size_t length) {
#ifndef MSG_NOSIGNAL
  /* Where a call cannot say so, as on macOS, the socket must. */
  const int on = 1;
  if (setsockopt(fd, SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof on) != 0) return -errno;
#endif
  ssize_t sent;
  do {
    sent = send(fd, bytes, length, SEND_FLAGS);
  } while (sent < 0 && errno == EINTR);
  return sent < 0 ? (int32_t)-errno : (int32_t)sent;
}

/* Whether a socket comes earlier in the list and has not taken all bytes. Sending to it would put bytes before those that remain. */
static bool is_behind(const int32_t *fds, const int32_t *results, size_t before, size_t length) {
  for (size_t i = 0; i < before; i++) {
    if (fds[i] == fds[before] && results[i] != (int32_t)length) return true;
  }
  return false;
}

/* Returns how many sockets have not taken all bytes. */
static size_t send_all(const int32_t *fds, size_t count, const char *bytes, size_t length, int32_t *results) {
  size_t incomplete = 0;
  for (size_t i = 0; i < count; i++) {
    /* A list with the same socket twice is rare, so that it is looked for only after a socket did not take all bytes. */
    const bool waits = incomplete > 0 && is_behind(fds, results, i, length);
    results[i] = waits ? -EAGAIN : send_one(fds[i], bytes, length);
    if (results[i] != (int32_t)length) incomplete++;
  }
  return incomplete;
}

static napi_value fail(napi_env env, const char *message) {
  napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", message);
  return NULL;
}

static bool int32_array(napi_env env, napi_value value, int32_t **data, size_t *length) {
  bool is_array;
  napi_typedarray_type type;
  return napi_is_typedarray(env, value, &is_array) == napi_ok && is_array &&
         napi_get_typedarray_info(env, value, &type, length, (void **)data, NULL, NULL) == napi_ok &&
         type == napi_int32_array;
}

static bool byte_array(napi_env env, napi_value value, char **data, size_t *length) {
  bool is_array;
  napi_typedarray_type type;
  return napi_is_typedarray(env, value, &is_array) == napi_ok && is_array &&
         napi_get_typedarray_info(env, value, &type, length, (void **)data, NULL, NULL) == napi_ok &&
         type == napi_uint8_array;
}

/* sendAll(fds: Int32Array, count: number, bytes: Uint8Array, results: Int32Array): number */
static napi_value send_all_js(napi_env env, napi_callback_info info) {
  napi_value arguments[ARGUMENTS];
  size_t given = ARGUMENTS;
  int32_t *fds, *results;
  size_t fds_length, results_length, length;
  char *bytes;
  int64_t count;
  if (napi_get_cb_info(env, info, &given, arguments, NULL, NULL) != napi_ok || given < ARGUMENTS) {
    return fail(env, "sendAll() needs fds, count, bytes and results");
  }
  if (!int32_array(env, arguments[0], &fds, &fds_length)) return fail(env, "fds must be an Int32Array");
  if (!byte_array(env, arguments[2], &bytes, &length)) return fail(env, "bytes must be a Uint8Array");
  if (!int32_array(env, arguments[3], &results, &results_length)) return fail(env, "results must be an Int32Array");
  if (napi_get_value_int64(env, arguments[1], &count) != napi_ok || count < 0 || (uint64_t)count > fds_length ||
      (uint64_t)count > results_length) {
    return fail(env, "count must be a number from 0 to the length of fds and of results");
  }
  if (length == 0 || length > INT32_MAX) return fail(env, "bytes must have a length from 1 to 2147483647");
  napi_value incomplete;
  if (napi_create_uint32(env, (uint32_t)send_all(fds, (size_t)count, bytes, length, results), &incomplete) != napi_ok) {
    return NULL;
  }
  return incomplete;
}

NAPI_MODULE_INIT() {
  napi_value function;
  if (napi_create_function(env, "sendAll", NAPI_AUTO_LENGTH, send_all_js, NULL, &function) != napi_ok ||
      napi_set_named_property(env, exports, "sendAll", function) != napi_ok) {
    return NULL;
  }
  return exports;
}
