// Lets tests call the functions of the header from JavaScript, one by one, and from threads. A file in C has the implementation, and one in C++ uses it.
#include <stdlib.h>

static void *observed_malloc(size_t size);
#define malloc observed_malloc

#define NS_IMPLEMENTATION
#include <nestjs_streaming.h>

#undef malloc

#include "threads.h"

#define CALL(call) \
  if ((call) != napi_ok) return NULL

static ns_stream *stream_of(napi_env env, napi_value value) {
  void *stream = NULL;
  (void)napi_get_value_external(env, value, &stream);
  return (ns_stream *)stream;
}

// So that tests know when there is no memory.
#define MOST_MEMORY (128u << 20)

// The stream to which this thread sends for send(), and whether it has asked for memory meanwhile while it had its mutex.
static _Thread_local ns_stream *sending;
static _Thread_local int under_mutex;

static void *observed_malloc(size_t size) {
  if (sending != NULL) {
    if (uv_mutex_trylock(&sending->mutex) == 0) {
      uv_mutex_unlock(&sending->mutex);
    } else {
      under_mutex = 1;
    }
  }
  return size > MOST_MEMORY ? NULL : malloc(size);
}

static napi_value number(napi_env env, double value) {
  napi_value result = NULL;
  (void)napi_create_double(env, value, &result);
  return result;
}

// open(ringBytes): { handle, stream }
static napi_value open_stream(napi_env env, napi_callback_info info) {
  size_t argc = 1;
  napi_value argv[1], result, handle, external;
  double bytes = 0;
  CALL(napi_get_cb_info(env, info, &argc, argv, NULL, NULL));
  if (argc > 0) CALL(napi_get_value_double(env, argv[0], &bytes));
  ns_options options = {(size_t)bytes};
  ns_stream *stream = ns_open(env, argc > 0 ? &options : NULL, &handle);
  if (stream == NULL) return NULL;
  CALL(napi_create_external(env, stream, NULL, NULL, &external));
  CALL(napi_create_object(env, &result));
  CALL(napi_set_named_property(env, result, "handle", handle));
  CALL(napi_set_named_property(env, result, "stream", external));
  return result;
}

// send(stream, bytes): 1, 0 or -1. Throws an error if a chunk that is taken was copied to memory of its own while the stream was locked
static napi_value send_chunk(napi_env env, napi_callback_info info) {
  size_t argc = 2, length;
  napi_value argv[2];
  void *data;
  CALL(napi_get_cb_info(env, info, &argc, argv, NULL, NULL));
  CALL(napi_get_buffer_info(env, argv[1], &data, &length));
  under_mutex = 0;
  sending = stream_of(env, argv[0]);
  int taken = ns_send_chunk(sending, data, length);
  sending = NULL;
  if (taken == 1 && under_mutex) {
    (void)napi_throw_error(env, NULL, "The chunk was copied to memory of its own while the stream was locked");
    return NULL;
  }
  return number(env, taken);
}

// sendTooMuch(stream): what a chunk gives that is longer than any may be
static napi_value send_too_much(napi_env env, napi_callback_info info) {
  size_t argc = 1;
  napi_value argv[1];
  CALL(napi_get_cb_info(env, info, &argc, argv, NULL, NULL));
  return number(env, ns_send_chunk(stream_of(env, argv[0]), "", (size_t)2147483648u));
}

// waitRoom(stream, ms): 1, 0 or -1
static napi_value wait_room(napi_env env, napi_callback_info info) {
  size_t argc = 2;
  napi_value argv[2];
  int32_t ms;
  CALL(napi_get_cb_info(env, info, &argc, argv, NULL, NULL));
  CALL(napi_get_value_int32(env, argv[1], &ms));
  return number(env, ns_wait_room(stream_of(env, argv[0]), ms));
}

// isCancelled(stream): 1 or 0
static napi_value is_cancelled(napi_env env, napi_callback_info info) {
  size_t argc = 1;
  napi_value argv[1];
  CALL(napi_get_cb_info(env, info, &argc, argv, NULL, NULL));
  return number(env, ns_is_cancelled(stream_of(env, argv[0])));
}

// close(stream, error?)
static napi_value close_stream(napi_env env, napi_callback_info info) {
  size_t argc = 2, length;
  napi_value argv[2];
  char error[256];
  CALL(napi_get_cb_info(env, info, &argc, argv, NULL, NULL));
  if (argc > 1) CALL(napi_get_value_string_utf8(env, argv[1], error, sizeof error, &length));
  ns_close_chunk(stream_of(env, argv[0]), argc > 1 ? error : NULL);
  return NULL;
}

// flood(stream, threads, count, size): each thread sends count numbered chunks, and the last one to end closes the stream
static napi_value flood(napi_env env, napi_callback_info info) {
  size_t argc = 4;
  napi_value argv[4];
  uint32_t threads, count, size;
  CALL(napi_get_cb_info(env, info, &argc, argv, NULL, NULL));
  CALL(napi_get_value_uint32(env, argv[1], &threads));
  CALL(napi_get_value_uint32(env, argv[2], &count));
  CALL(napi_get_value_uint32(env, argv[3], &size));
  start_flood(stream_of(env, argv[0]), threads, count, size);
  return NULL;
}

// figures(): what all floods of the process have seen: [chunks taken, times full, threads that wait now, threads that got -1, threads that run]
static napi_value get_figures(napi_env env, napi_callback_info info) {
  napi_value result;
  (void)info;
  CALL(napi_create_array(env, &result));
  for (uint32_t i = 0; i < FIGURES; i++) CALL(napi_set_element(env, result, i, number(env, (double)read_figure(i))));
  return result;
}

NAPI_MODULE_INIT() {
  napi_property_descriptor properties[] = {
      {"open", NULL, open_stream, NULL, NULL, NULL, napi_default, NULL},
      {"send", NULL, send_chunk, NULL, NULL, NULL, napi_default, NULL},
      {"sendTooMuch", NULL, send_too_much, NULL, NULL, NULL, napi_default, NULL},
      {"waitRoom", NULL, wait_room, NULL, NULL, NULL, napi_default, NULL},
      {"isCancelled", NULL, is_cancelled, NULL, NULL, NULL, napi_default, NULL},
      {"close", NULL, close_stream, NULL, NULL, NULL, napi_default, NULL},
      {"flood", NULL, flood, NULL, NULL, NULL, napi_default, NULL},
      {"figures", NULL, get_figures, NULL, NULL, NULL, napi_default, NULL},
  };
  CALL(napi_define_properties(env, exports, sizeof properties / sizeof properties[0], properties));
  return exports;
}
