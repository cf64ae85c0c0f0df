/*
 * nestjs_streaming.h: streams chunks from threads of an addon to clients of nestjs-streaming.
 *
 * The header contains everything, for C11 (gnu11, as libuv) and for C++11 or newer. It needs only what Node.js brings: Node-API 8 and libuv. In exactly one source file of
 * the addon, write
 *
 *     #define NS_IMPLEMENTATION
 *     #include <nestjs_streaming.h>
 *
 * and in the others only the second line. In the binding.gyp of the addon, this finds the header:
 *
 *     "include_dirs": ["<!(node -p \"require('node:path').join(require.resolve('nestjs-streaming/package.json'), '../include')\")"]
 *
 * A stream has two ends. The thread of JavaScript opens it, and passes the handle to JavaScript, where fromNative(handle) of 'nestjs-streaming/worker' is
 * what a method returns. Any other thread sends:
 *
 *     napi_value handle;
 *     ns_stream *stream = ns_open(env, NULL, &handle);        // on the thread of JavaScript
 *     if (stream == NULL) return NULL;                        // an exception of JavaScript is pending
 *     …start a thread with stream, and return handle…
 *
 *     int taken;                                              // on the other thread
 *     while ((taken = ns_send_chunk(stream, data, length)) == 0) ns_wait_room(stream, -1);
 *     if (taken < 0) …the client is gone: stop computing…
 *     ns_close_chunk(stream, NULL);                           // always, and once
 *
 * Chunks wait in a ring of the stream, of 64 KiB unless the options say otherwise. It is read only as fast as the client reads, and memory is not
 * needed beyond it. The boundaries of chunks are kept: one chunk is one event of SSE, one message of WebSocket, one line of NDJSON.
 *
 * The first chunk after a pause of all streams of an environment wakes the event loop immediately. Those that follow, of any stream, are collected, and passed on
 * together every NS_FLUSH_MS (5 ms), or earlier if the ring of one is half full. All streams of an environment share one uv_async_t and one uv_timer_t. They do not keep the process alive, except
 * while JavaScript waits for a chunk.
 *
 * An environment is the main thread or a worker thread of Node.js. If it ends while threads still send, their calls return -1. An addon may be
 * loaded in several environments, and several addons may contain this header, also in different versions.
 */
#ifndef NESTJS_STREAMING_H
#define NESTJS_STREAMING_H

#include <node_api.h>
#include <stddef.h>

#if !defined(NAPI_VERSION) || NAPI_VERSION < 8
#error "nestjs_streaming.h needs NAPI_VERSION 8 or newer"
#endif

/* The version of the interface between this header and fromNative(), which compares it. */
#define NS_ABI 1

/* After how many milliseconds chunks are passed on that follow another chunk. */
#ifndef NS_FLUSH_MS
#define NS_FLUSH_MS 5
#endif

/* Each addon has its own copy of the functions, even if several addons of a process contain this header. */
#ifndef NS_API
#if defined(__GNUC__) || defined(__clang__)
#define NS_API __attribute__((visibility("hidden")))
#else
#define NS_API
#endif
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ns_stream ns_stream;

typedef struct ns_options {
  /* The bytes of the ring, rounded up to a power of two from 1 024 to 1 073 741 824. Default, for 0: 65 536. A chunk needs 4 to 7 bytes more than its length. */
  size_t ring_bytes;
} ns_options;

/*
 * Opens a stream. Only on the thread of JavaScript, in a function that JavaScript has called.
 *
 * options: NULL for the defaults.
 * handle: receives the object for fromNative(), valid in the current handle scope. If JavaScript drops it without reading, the stream is cancelled when
 *   it is garbage-collected.
 *
 * Returns NULL if there is no memory or an option is invalid. An exception of JavaScript is then pending, and *handle is not set.
 * The stream must be ended with ns_close_chunk(), exactly once. Until then, it is not freed.
 */
NS_API ns_stream *ns_open(napi_env env, const ns_options *options, napi_value *handle);

/*
 * Sends a chunk. From any thread, also from several at once: each chunk stays whole. Never blocks for longer than it takes to copy a chunk.
 *
 * data: is copied before the function returns. May be NULL if length is 0.
 * length: 0 is a chunk too, an empty one. A chunk that is larger than the ring is taken when the ring is empty, and needs memory of its own.
 *
 * Returns  1 if the chunk is taken.
 *          0 if the ring is full: nothing of the chunk is taken. Call ns_wait_room(), and send it again. From then on, chunks of all threads are refused until
 *            there is room for this one, and the ring is at least half empty. So small chunks cannot keep out a large one.
 *         -1 if the stream is cancelled (see ns_is_cancelled()): no chunk will be taken any more. Call ns_close_chunk().
 *            Also if length is larger than 2 147 483 647, or there is no memory for a chunk that is larger than the ring: the stream is then cancelled,
 *            and fails in JavaScript.
 */
NS_API int ns_send_chunk(ns_stream *stream, const void *data, size_t length);

/*
 * Waits until the chunks fit for which ns_send_chunk() returned 0, and the ring is at least half empty. From any thread except that of JavaScript, which
 * would wait for itself. Needs no CPU meanwhile.
 *
 * ms: the longest time to wait. Negative: no limit.
 *
 * Returns 1 if there is room, 0 if the time is over, -1 if the stream is cancelled.
 */
NS_API int ns_wait_room(ns_stream *stream, int ms);

/*
 * Ends the stream after the chunks that were taken. From any thread, exactly once, also after another function returned -1. It frees what belongs to
 * the stream, so that no thread may use the stream afterwards, or be in a call with it.
 *
 * error: NULL for a clean end. Otherwise the message, in UTF-8, of the error with which the stream fails in JavaScript; it is copied. If no chunk was
 *   sent before, the client receives a response with the status 500.
 */
NS_API void ns_close_chunk(ns_stream *stream, const char *error);

/*
 * Returns 1 if the client is gone, or the stream was ended in JavaScript, or the environment has ended. Otherwise 0. From any thread. Costs a few
 * nanoseconds, so that a long computation can ask often.
 */
NS_API int ns_is_cancelled(ns_stream *stream);

#ifdef __cplusplus
}
#endif

#endif /* NESTJS_STREAMING_H */

#if defined(NS_IMPLEMENTATION) && !defined(NS__IMPLEMENTED)
#define NS__IMPLEMENTED

#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>
#if !defined(_WIN32)
#include <dlfcn.h>
#endif

#ifdef __cplusplus
extern "C" {
#endif

/*
 * How it works. Producers write to the ring of a stream and move `tail`, one at a time, under the mutex of the stream. The thread of JavaScript reads and
 * moves `head` without a mutex. It needs the mutex only to cancel the stream, and to wake threads that wait for room: it can then wait for one producer, while
 * that copies a chunk into the ring. Chunks that are larger than the ring are copied outside of the mutex.
 *
 * If JavaScript finds nothing, it sets `wanted`. The producer that resets it puts the stream on the list `ready` of the environment, once, and wakes the event
 * loop unless it is awake.
 *
 * All atomic operations are sequentially consistent: "write the tail, then read wanted" meets "write wanted, then read the tail", and one of both sees
 * the other.
 */

/* Microsoft's compiler has <stdatomic.h> only as an experiment, and C++ has another header than C. */
#if defined(_MSC_VER) && !defined(__clang__)
#include <intrin.h>
typedef volatile long ns__atomic;
#define ns__load(p) ((uint32_t)_InterlockedOr((p), 0))
#define ns__exchange(p, v) ((uint32_t)_InterlockedExchange((p), (long)(v)))
#define ns__store(p, v) ((void)_InterlockedExchange((p), (long)(v)))
#define ns__add(p, v) ((uint32_t)_InterlockedExchangeAdd((p), (long)(v)) + (uint32_t)(v))
#else
typedef uint32_t ns__atomic;
#define ns__load(p) __atomic_load_n((p), __ATOMIC_SEQ_CST)
#define ns__exchange(p, v) __atomic_exchange_n((p), (uint32_t)(v), __ATOMIC_SEQ_CST)
#define ns__store(p, v) __atomic_store_n((p), (uint32_t)(v), __ATOMIC_SEQ_CST)
#define ns__add(p, v) __atomic_add_fetch((p), (uint32_t)(v), __ATOMIC_SEQ_CST)
#endif

#define NS__DEFAULT_RING 65536u
#define NS__SMALLEST_RING 1024u
#define NS__LARGEST_RING 1073741824u
/* How many bytes are passed to JavaScript at once: as many as are written to a socket at once. They are the memory that a stream needs beyond its ring. */
#define NS__BATCH_BYTES 16384u
/* In the length of a chunk: what follows is a pointer to it. */
#define NS__ASIDE 0x80000000u

typedef struct ns__env ns__env;

/* A chunk that is larger than the ring. */
typedef struct ns__aside {
  size_t length;
  char *data;
} ns__aside;

struct ns_stream {
  ns__env *env;
  char *ring;
  uint32_t capacity;
  char *error;
  /* One for JavaScript, one for the producers, and one while the stream is on the list `ready`. */
  ns__atomic refs;
  /* The environment, or the client, is gone. */
  ns__atomic gone;
  /* Set after the last chunk. */
  ns__atomic closed;
  /* JavaScript waits for a chunk, and the next one has to wake it. */
  ns__atomic wanted;
  /* The stream is on the list `ready`. */
  ns__atomic queued;
  /* How many threads are in ns_wait_room(). */
  ns__atomic waiters;
  uv_mutex_t mutex;
  uv_cond_t room;
  /* How many bytes have to be free before a chunk is taken: 0, unless one was refused since the last one was taken. Under the mutex. */
  uint32_t need;

  /* Only for the thread of JavaScript. */
  ns_stream *previous, *next;
  napi_ref object;
  int waiting;
  int claimed;

  /* Under the mutex of the environment. */
  ns_stream *next_ready;

  /* The producers and the reader write these at the same time: on cache lines of their own. */
  char padding1[64];
  ns__atomic tail;
  char padding2[64];
  ns__atomic head;
  char padding3[64];
};

struct ns__env {
  napi_env env;
  napi_ref constructor;
  napi_async_context context;
  napi_async_cleanup_hook_handle hook;
  uv_async_t async;
  uv_timer_t timer;
  int open_handles;
  /* Whose object is being created. */
  ns_stream *opening;
  ns_stream *streams;
  /* How many streams JavaScript waits for. */
  uint32_t waiting;
  char *batch;

  uv_mutex_t mutex;
  /* Under the mutex. Nobody may call uv_async_send() after the environment is closed. */
  ns_stream *ready, *last_ready;
  int closed;
  /* The loop is about to look at `ready`, or does so every few milliseconds. */
  int awake;
  uint32_t refs;
  /* The loop is woken although it is awake. */
  ns__atomic urgent;

  ns__env *next;
};

/* glibc and musl declare dladdr() only with _GNU_SOURCE, which has to be defined before the first header of a file. */
#if defined(__linux__) && !defined(_GNU_SOURCE)
typedef struct ns__library_info {
  const char *dli_fname;
  void *dli_fbase;
  const char *dli_sname;
  void *dli_saddr;
} ns__library_info;
extern int ns__find_library(const void *address, ns__library_info *info) __asm__("dladdr");
#elif !defined(_WIN32)
typedef Dl_info ns__library_info;
#define ns__find_library dladdr
#endif

static uv_once_t ns__once = UV_ONCE_INIT;
static uv_mutex_t ns__envs_mutex;
static ns__env *ns__envs;

static const napi_type_tag ns__tag = {0x6e73747265616d31ULL, 0x9d1c5a7e03b84f62ULL};

/*
 * Keeps the code of the addon in memory. Node.js unloads an addon when the last environment ends that has loaded it, but threads may still be in a function
 * of this header then.
 */
static void ns__pin(void) {
#if defined(_WIN32)
  HMODULE module;
  (void)GetModuleHandleExW(GET_MODULE_HANDLE_EX_FLAG_PIN | GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS, (LPCWSTR)(const void *)&ns__once,
                           &module);
#else
  ns__library_info info;
  uv_lib_t library;
  if (ns__find_library(&ns__once, &info) != 0) (void)uv_dlopen(info.dli_fname, &library);
#endif
}

static void ns__init_once(void) {
  if (uv_mutex_init(&ns__envs_mutex) != 0) abort();
  ns__pin();
}

/* ---- lifetimes ---- */

static void ns__release_env(ns__env *env) {
  uint32_t refs;
  uv_mutex_lock(&env->mutex);
  refs = --env->refs;
  uv_mutex_unlock(&env->mutex);
  if (refs == 0) {
    uv_mutex_destroy(&env->mutex);
    free(env->batch);
    free(env);
  }
}

static void ns__ring_read(const ns_stream *s, uint32_t position, void *to, uint32_t length) {
  uint32_t from = position & (s->capacity - 1);
  uint32_t first = s->capacity - from < length ? s->capacity - from : length;
  memcpy(to, s->ring + from, first);
  memcpy((char *)to + first, s->ring, length - first);
}

static void ns__ring_write(ns_stream *s, uint32_t position, const void *data, uint32_t length) {
  uint32_t to = position & (s->capacity - 1);
  uint32_t first = s->capacity - to < length ? s->capacity - to : length;
  if (length == 0) return;
  memcpy(s->ring + to, data, first);
  memcpy(s->ring, (const char *)data + first, length - first);
}

/* The bytes of the ring that a chunk needs. Lengths are aligned, so that they are never split by the end of the ring. */
static uint32_t ns__entry_size(uint32_t header) {
  return 4 + (header == NS__ASIDE ? (uint32_t)sizeof(void *) : ((header + 3) & ~3u));
}

static void ns__release(ns_stream *s) {
  uint32_t position, tail;
  if (ns__add(&s->refs, -1) != 0) return;
  tail = ns__load(&s->tail);
  for (position = ns__load(&s->head); position != tail;) {
    uint32_t header;
    ns__ring_read(s, position, &header, 4);
    if (header == NS__ASIDE) {
      ns__aside *aside;
      ns__ring_read(s, position + 4, &aside, sizeof aside);
      free(aside);
    }
    position += ns__entry_size(header);
  }
  uv_cond_destroy(&s->room);
  uv_mutex_destroy(&s->mutex);
  ns__release_env(s->env);
  free(s->error);
  free(s->ring);
  free(s);
}

/* Nobody reads any more. */
static void ns__cancel(ns_stream *s) {
  uv_mutex_lock(&s->mutex);
  ns__store(&s->gone, 1);
  uv_cond_broadcast(&s->room);
  uv_mutex_unlock(&s->mutex);
}

/* ---- producers: any thread ---- */

/* Wakes the loop earlier than in a few milliseconds. */
static void ns__hurry(ns__env *env) {
  if (ns__load(&env->urgent)) return;
  uv_mutex_lock(&env->mutex);
  if (!env->closed && !ns__exchange(&env->urgent, 1)) uv_async_send(&env->async);
  uv_mutex_unlock(&env->mutex);
}

static void ns__ring_bell(ns_stream *s, int hurry) {
  ns__env *env = s->env;
  if (ns__load(&s->wanted) && ns__exchange(&s->wanted, 0)) {
    uv_mutex_lock(&env->mutex);
    /* It may be on the list already, if JavaScript goes on to read after cancel(): once is enough, as the loop is about to look at it. */
    if (!env->closed && !ns__exchange(&s->queued, 1)) {
      (void)ns__add(&s->refs, 1);
      s->next_ready = NULL;
      if (env->ready == NULL) {
        env->ready = s;
      } else {
        env->last_ready->next_ready = s;
      }
      env->last_ready = s;
      if (!env->awake) {
        env->awake = 1;
        uv_async_send(&env->async);
      }
    }
    uv_mutex_unlock(&env->mutex);
  }
  if (hurry && ns__load(&s->queued)) ns__hurry(env);
}

NS_API int ns_is_cancelled(ns_stream *s) { return ns__load(&s->gone) != 0; }

/* Under the mutex of the stream. Only the first error counts. */
static void ns__set_error(ns_stream *s, const char *error) {
  size_t length = strlen(error) + 1;
  if (s->error != NULL) return;
  s->error = (char *)malloc(length);
  /* Without memory for the message, the stream still has to fail. */
  if (s->error != NULL) {
    memcpy(s->error, error, length);
  } else {
    s->error = (char *)calloc(1, 1);
  }
}

static ns__aside *ns__set_aside(const void *data, size_t length) {
  ns__aside *aside = (ns__aside *)malloc(sizeof(ns__aside) + length);
  if (aside == NULL) return NULL;
  aside->length = length;
  aside->data = (char *)(aside + 1);
  memcpy(aside->data, data, length);
  return aside;
}

/* Under the mutex of the stream. Ends it with an error of this header. Returns -1. */
static int ns__fail(ns_stream *s, const char *error) {
  ns__set_error(s, error);
  ns__store(&s->closed, 1);
  ns__store(&s->gone, 1);
  uv_cond_broadcast(&s->room);
  return -1;
}

/* Under the mutex of the stream. How many bytes are free. */
static uint32_t ns__room(ns_stream *s) { return s->capacity - (ns__load(&s->tail) - ns__load(&s->head)); }

/* Under the mutex of the stream. Returns what ns_send_chunk() does, before it takes the chunk. */
static int ns__accepts(ns_stream *s, size_t length, int large) {
  uint32_t size = large ? s->capacity : ns__entry_size((uint32_t)length), room = ns__room(s);
  uint32_t need = size > s->capacity / 2 ? size : s->capacity / 2;
  if (ns__load(&s->gone)) return -1;
  if (size <= room && s->need <= room) return 1;
  if (need > s->need) s->need = need;
  return 0;
}

/* Under the mutex of the stream, which has room. */
static void ns__put(ns_stream *s, uint32_t header, const void *entry, uint32_t length) {
  uint32_t tail = ns__load(&s->tail);
  ns__ring_write(s, tail + 4, entry, length);
  ns__ring_write(s, tail, &header, 4);
  ns__store(&s->tail, tail + ns__entry_size(header));
  s->need = 0;
}

/* Under the mutex of the stream, which is free meanwhile: JavaScript must not wait for the copy. Returns what ns_send_chunk() does. */
static int ns__put_aside(ns_stream *s, const void *data, size_t length) {
  int taken;
  ns__aside *aside;
  uv_mutex_unlock(&s->mutex);
  aside = ns__set_aside(data, length);
  uv_mutex_lock(&s->mutex);
  taken = ns__accepts(s, length, 1);
  if (taken != 1) {
    free(aside);
    return taken;
  }
  /* Not 0: there is room, so that ns_wait_room() would not wait. */
  if (aside == NULL) return ns__fail(s, "There is no memory for a chunk that is larger than the ring");
  ns__put(s, NS__ASIDE, &aside, sizeof aside);
  return 1;
}

NS_API int ns_send_chunk(ns_stream *s, const void *data, size_t length) {
  /* As 64 bits, because 4 bytes more than a length may be more than 32. */
  int taken, hurry, large = (((uint64_t)length + 3) & ~(uint64_t)3) + 4 > s->capacity;
  if (ns__load(&s->gone)) return -1;
  uv_mutex_lock(&s->mutex);
  if (length > INT32_MAX) {
    taken = ns__fail(s, "ns_send_chunk() takes at most 2147483647 bytes");
  } else if ((taken = ns__accepts(s, length, large)) == 1) {
    if (large) {
      taken = ns__put_aside(s, data, length);
    } else {
      ns__put(s, (uint32_t)length, data, (uint32_t)length);
    }
  }
  hurry = taken == 0 || ns__room(s) <= s->capacity / 2;
  uv_mutex_unlock(&s->mutex);
  ns__ring_bell(s, hurry);
  return taken;
}

NS_API int ns_wait_room(ns_stream *s, int ms) {
  uint64_t now = uv_hrtime();
  uint64_t end = ms < 0 ? UINT64_MAX : now + (uint64_t)ms * 1000000u;
  int room;
  uv_mutex_lock(&s->mutex);
  (void)ns__add(&s->waiters, 1);
  for (;;) {
    if (ns__load(&s->gone)) {
      room = -1;
      break;
    }
    room = ns__room(s) >= (s->need > 0 ? s->need : s->capacity / 2);
    if (room || now >= end) break;
    if (ms < 0) {
      uv_cond_wait(&s->room, &s->mutex);
    } else {
      (void)uv_cond_timedwait(&s->room, &s->mutex, end - now);
      now = uv_hrtime();
    }
  }
  (void)ns__add(&s->waiters, -1);
  uv_mutex_unlock(&s->mutex);
  return room;
}

NS_API void ns_close_chunk(ns_stream *s, const char *error) {
  uv_mutex_lock(&s->mutex);
  if (error != NULL) ns__set_error(s, error);
  ns__store(&s->closed, 1);
  uv_mutex_unlock(&s->mutex);
  ns__ring_bell(s, 0);
  ns__release(s);
}

/* ---- reader: only the thread of JavaScript ---- */

/* The loop is kept alive while JavaScript waits. */
static void ns__set_waiting(ns_stream *s, int waiting) {
  ns__env *env = s->env;
  if (s->waiting == waiting) return;
  s->waiting = waiting;
  if (waiting) {
    if (env->waiting++ == 0) uv_ref((uv_handle_t *)&env->async);
    (void)napi_reference_ref(env->env, s->object, NULL);
  } else {
    if (--env->waiting == 0) uv_unref((uv_handle_t *)&env->async);
    (void)napi_reference_unref(env->env, s->object, NULL);
  }
}

static void ns__call_on_ready(ns_stream *s) {
  napi_env env = s->env->env;
  napi_value object, on_ready, error;
  napi_status status;
  bool pending = false;
  if (napi_get_reference_value(env, s->object, &object) != napi_ok) return;
  ns__set_waiting(s, 0);
  if (napi_get_named_property(env, object, "onReady", &on_ready) != napi_ok) return;
  status = napi_call_function(env, object, on_ready, 0, NULL, NULL);
  /* Only a function that fromNative() has not set can throw. */
  if (status != napi_ok && napi_is_exception_pending(env, &pending) == napi_ok && pending) {
    if (napi_get_and_clear_last_exception(env, &error) == napi_ok) (void)napi_fatal_exception(env, error);
  }
}

static void ns__on_timer(uv_timer_t *timer);

/* Returns the context of all calls of onReady(), or NULL. It is created in a call of libuv: in ns_open(), it would keep the AsyncLocalStorage of a request. */
static napi_async_context ns__context(ns__env *env) {
  napi_value name;
  if (env->context == NULL && napi_create_string_utf8(env->env, "nestjs-streaming", NAPI_AUTO_LENGTH, &name) == napi_ok) {
    (void)napi_async_init(env->env, NULL, name, &env->context);
  }
  return env->context;
}

static void ns__flush(ns__env *env) {
  napi_handle_scope handles = NULL;
  napi_callback_scope callbacks = NULL;
  ns_stream *s;
  uv_mutex_lock(&env->mutex);
  s = env->ready;
  env->ready = NULL;
  ns__store(&env->urgent, 0);
  if (s == NULL) {
    env->awake = 0;
    uv_timer_stop(&env->timer);
  }
  uv_mutex_unlock(&env->mutex);
  if (s == NULL) return;
  if (!uv_is_active((uv_handle_t *)&env->timer)) {
    /* Forgets the time that passed since the loop has read the clock. */
    uv_update_time(env->async.loop);
    uv_timer_start(&env->timer, ns__on_timer, NS_FLUSH_MS, NS_FLUSH_MS);
  }
  (void)napi_open_handle_scope(env->env, &handles);
  /* The microtasks of all streams run when this scope is closed: what they write is written together. */
  if (ns__context(env) != NULL) (void)napi_open_callback_scope(env->env, NULL, env->context, &callbacks);
  while (s != NULL) {
    ns_stream *next = s->next_ready;
    ns__store(&s->queued, 0);
    if (s->waiting) ns__call_on_ready(s);
    ns__release(s);
    s = next;
  }
  if (callbacks != NULL) (void)napi_close_callback_scope(env->env, callbacks);
  if (handles != NULL) (void)napi_close_handle_scope(env->env, handles);
}

static void ns__on_timer(uv_timer_t *timer) { ns__flush((ns__env *)timer->data); }

static void ns__on_async(uv_async_t *async) { ns__flush((ns__env *)async->data); }

/* Returns the stream of `this`, or NULL with a pending exception. */
static ns_stream *ns__this(napi_env env, napi_callback_info info, size_t *argc, napi_value *argv) {
  napi_value self;
  void *stream = NULL;
  bool ours = false;
  if (napi_get_cb_info(env, info, argc, argv, &self, NULL) != napi_ok ||
      napi_check_object_type_tag(env, self, &ns__tag, &ours) != napi_ok || !ours ||
      napi_unwrap(env, self, &stream) != napi_ok) {
    bool pending = false;
    (void)napi_is_exception_pending(env, &pending);
    if (!pending) (void)napi_throw_type_error(env, NULL, "This is no handle of ns_open()");
    return NULL;
  }
  return (ns_stream *)stream;
}

/* Looks at eight bytes at once: tokens in ASCII are what most streams consist of. */
static int ns__is_ascii(const char *bytes, size_t length) {
  uint64_t word, all = 0;
  size_t i = 0;
  for (; length - i >= sizeof word; i += sizeof word) {
    memcpy(&word, bytes + i, sizeof word);
    all |= word;
  }
  for (; i < length; i++) all |= (unsigned char)bytes[i];
  return (all & 0x8080808080808080ULL) == 0;
}

/* Returns how many UTF-16 code units a chunk has, or SIZE_MAX if it is not well-formed UTF-8, for example because a character goes on in the next chunk. */
static size_t ns__utf16_length(const unsigned char *text, size_t length) {
  size_t units = 0, i = 0;
  if (ns__is_ascii((const char *)text, length)) return length;
  while (i < length) {
    unsigned char c = text[i];
    size_t more, j;
    if (c < 0x80) {
      units++;
      i++;
      continue;
    }
    if (c < 0xc2 || c > 0xf4) return SIZE_MAX;
    more = c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
    if (length - i <= more) return SIZE_MAX;
    for (j = 1; j <= more; j++) {
      if ((text[i + j] & 0xc0) != 0x80) return SIZE_MAX;
    }
    /* Overlong forms, surrogates, and what is beyond U+10FFFF. */
    if ((c == 0xe0 && text[i + 1] < 0xa0) || (c == 0xed && text[i + 1] > 0x9f) || (c == 0xf0 && text[i + 1] < 0x90) ||
        (c == 0xf4 && text[i + 1] > 0x8f)) {
      return SIZE_MAX;
    }
    units += more == 3 ? 2 : 1;
    i += more + 1;
  }
  return units;
}

/* Changes the ends of chunks from bytes to UTF-16 code units. Returns 0, and changes nothing, if a chunk is not well-formed. */
static int ns__to_utf16(const char *bytes, uint32_t *ends) {
  uint32_t count = ends[0], start = 0, units = 0, i;
  for (i = 1; i <= count; i++) {
    if (ns__utf16_length((const unsigned char *)bytes + start, ends[i] - start) == SIZE_MAX) return 0;
    start = ends[i];
  }
  for (i = 1, start = 0; i <= count; i++) {
    uint32_t end = ends[i];
    units += (uint32_t)ns__utf16_length((const unsigned char *)bytes + start, end - start);
    ends[i] = units;
    start = end;
  }
  return 1;
}

/* Returns the chunks as one string, if they are wanted as text and each is well-formed, and otherwise as one Buffer. NULL: an exception is pending. */
static napi_value ns__value(napi_env env, const char *bytes, size_t length, uint32_t *ends, bool text) {
  napi_value value = NULL;
  if (text && ns__is_ascii(bytes, length)) {
    /* The ends are the same in code units, and the bytes are copied without another look at them. */
    (void)napi_create_string_latin1(env, bytes, length, &value);
    if (value == NULL) (void)napi_throw_range_error(env, NULL, "A chunk is too long for a string");
  } else if (text && ns__to_utf16(bytes, ends)) {
    (void)napi_create_string_utf8(env, bytes, length, &value);
    if (value == NULL) (void)napi_throw_range_error(env, NULL, "A chunk is too long for a string");
  } else if (napi_create_buffer_copy(env, length, length > 0 ? bytes : "", NULL, &value) != napi_ok) {
    value = NULL;
    (void)napi_throw_range_error(env, NULL, "There is no memory for a chunk");
  }
  return value;
}

/* Copies chunks from the ring to the batch. Returns the position after them. At least one is there, and it is in the ring. */
static uint32_t ns__collect(ns_stream *s, char *batch, uint32_t head, uint32_t tail, uint32_t *ends, size_t most) {
  uint32_t count = 0, bytes = 0;
  while (head != tail && count < most) {
    uint32_t header;
    ns__ring_read(s, head, &header, 4);
    if (header == NS__ASIDE || (count > 0 && header > NS__BATCH_BYTES - bytes)) break;
    ns__ring_read(s, head + 4, batch + bytes, header);
    bytes += header;
    ends[++count] = bytes;
    head += ns__entry_size(header);
    if (bytes >= NS__BATCH_BYTES) break;
  }
  ends[0] = count;
  return head;
}

/* Takes chunks out of the ring. The first one may be larger than a batch. */
static napi_value ns__take_chunks(napi_env env, ns_stream *s, uint32_t tail, uint32_t *ends, size_t most, bool text) {
  uint32_t head = ns__load(&s->head), header;
  ns__aside *aside = NULL;
  char *large = NULL;
  napi_value value;
  ns__ring_read(s, head, &header, 4);
  if (header == NS__ASIDE) {
    ns__ring_read(s, head + 4, &aside, sizeof aside);
    ends[0] = 1;
    ends[1] = (uint32_t)aside->length;
    head += ns__entry_size(header);
    value = ns__value(env, aside->data, aside->length, ends, text);
  } else {
    if (header > NS__BATCH_BYTES && (large = (char *)malloc(header)) == NULL) {
      (void)napi_throw_range_error(env, NULL, "There is no memory for a chunk");
      return NULL;
    }
    head = ns__collect(s, large != NULL ? large : s->env->batch, head, tail, ends, most);
    value = ns__value(env, large != NULL ? large : s->env->batch, ends[ends[0]], ends, text);
  }
  free(large);
  if (value == NULL) return NULL;
  ns__store(&s->head, head);
  free(aside);
  if (ns__load(&s->waiters) > 0) {
    uv_mutex_lock(&s->mutex);
    uv_cond_broadcast(&s->room);
    uv_mutex_unlock(&s->mutex);
  }
  return value;
}

/* Returns undefined at the clean end, or throws the error of the producer. */
static napi_value ns__end(napi_env env, ns_stream *s) {
  napi_value message, error;
  if (s->error == NULL) return NULL;
  if (napi_create_string_utf8(env, s->error, NAPI_AUTO_LENGTH, &message) == napi_ok &&
      napi_create_error(env, NULL, message, &error) == napi_ok) {
    (void)napi_throw(env, error);
  }
  return NULL;
}

/*
 * take(ends: Uint32Array, text: boolean): returns several chunks in one string or Buffer, and in `ends` their number and where each ends. Returns null if there
 * is none: onReady() of the handle is then called once, when there may be one. Returns undefined after the last one, or throws the error of the producer.
 */
static napi_value ns__take(napi_env env, napi_callback_info info) {
  size_t argc = 2, length = 0;
  napi_value argv[2], value = NULL;
  napi_typedarray_type type;
  void *ends = NULL;
  bool text = false;
  ns_stream *s = ns__this(env, info, &argc, argv);
  if (s == NULL) return NULL;
  if (napi_get_typedarray_info(env, argv[0], &type, &length, &ends, NULL, NULL) != napi_ok || type != napi_uint32_array ||
      length < 2 || napi_get_value_bool(env, argv[1], &text) != napi_ok) {
    (void)napi_throw_type_error(env, NULL, "take(ends: Uint32Array, text: boolean)");
    return NULL;
  }
  for (;;) {
    /* In this order: after `closed` there is no chunk that is not seen here. */
    uint32_t closed = ns__load(&s->closed), tail = ns__load(&s->tail);
    if (ns__load(&s->head) != tail) return ns__take_chunks(env, s, tail, (uint32_t *)ends, length - 1, text);
    if (closed) return ns__end(env, s);
    if (s->waiting) break;
    ns__store(&s->wanted, 1);
    if (ns__load(&s->closed) == 0 && ns__load(&s->tail) == tail) {
      ns__set_waiting(s, 1);
      break;
    }
    /* A chunk has come meanwhile. If its producer has seen `wanted`, the stream is about to be on the list `ready`, and has to be there only once. */
    if (!ns__exchange(&s->wanted, 0)) {
      ns__set_waiting(s, 1);
      break;
    }
  }
  return napi_get_null(env, &value) == napi_ok ? value : NULL;
}

/* cancel(): nobody reads any more. onReady() is not called any more. */
static napi_value ns__cancel_from_js(napi_env env, napi_callback_info info) {
  size_t argc = 0;
  ns_stream *s = ns__this(env, info, &argc, NULL);
  if (s != NULL) {
    ns__set_waiting(s, 0);
    ns__cancel(s);
  }
  return NULL;
}

/* claim(): returns true when it is called for the first time. */
static napi_value ns__claim(napi_env env, napi_callback_info info) {
  size_t argc = 0;
  napi_value value = NULL;
  ns_stream *s = ns__this(env, info, &argc, NULL);
  if (s == NULL || napi_get_boolean(env, !s->claimed, &value) != napi_ok) return NULL;
  s->claimed = 1;
  return value;
}

static void ns__finalize(napi_env env, void *data, void *hint) {
  ns_stream *s = (ns_stream *)data;
  int64_t memory;
  (void)hint;
  if (s->previous != NULL) {
    s->previous->next = s->next;
  } else {
    s->env->streams = s->next;
  }
  if (s->next != NULL) s->next->previous = s->previous;
  if (s->object != NULL) (void)napi_delete_reference(env, s->object);
  (void)napi_adjust_external_memory(env, -(int64_t)s->capacity, &memory);
  ns__cancel(s);
  ns__release(s);
}

/* Only ns_open() may create objects. */
static napi_value ns__construct(napi_env env, napi_callback_info info) {
  napi_value self;
  void *data;
  ns__env *ns;
  ns_stream *s;
  if (napi_get_cb_info(env, info, NULL, NULL, &self, &data) != napi_ok) return NULL;
  ns = (ns__env *)data;
  s = ns->opening;
  ns->opening = NULL;
  if (s == NULL) {
    (void)napi_throw_type_error(env, NULL, "Illegal constructor");
    return NULL;
  }
  if (napi_type_tag_object(env, self, &ns__tag) != napi_ok || napi_create_reference(env, self, 0, &s->object) != napi_ok) {
    return NULL;
  }
  if (napi_wrap(env, self, s, ns__finalize, NULL, NULL) != napi_ok) {
    (void)napi_delete_reference(env, s->object);
    s->object = NULL;
    return NULL;
  }
  /* From here on, the object owns a reference, and the list contains the stream. */
  (void)ns__add(&s->refs, 1);
  s->next = ns->streams;
  if (s->next != NULL) s->next->previous = s;
  ns->streams = s;
  return self;
}

/* ---- environments ---- */

static void ns__forget(ns__env *env) {
  ns__env **link;
  uv_mutex_lock(&ns__envs_mutex);
  for (link = &ns__envs; *link != NULL; link = &(*link)->next) {
    if (*link == env) {
      *link = env->next;
      break;
    }
  }
  uv_mutex_unlock(&ns__envs_mutex);
}

static void ns__on_handle_closed(uv_handle_t *handle) {
  ns__env *env = (ns__env *)handle->data;
  if (--env->open_handles > 0) return;
  if (env->hook != NULL) (void)napi_remove_async_cleanup_hook(env->hook);
  ns__release_env(env);
}

static void ns__close_handles(ns__env *env) {
  uv_close((uv_handle_t *)&env->async, ns__on_handle_closed);
  uv_close((uv_handle_t *)&env->timer, ns__on_handle_closed);
}

/* The environment ends: calls of producers return -1 from now on. The objects of the streams are finalized after this. */
static void ns__on_cleanup(napi_async_cleanup_hook_handle hook, void *data) {
  ns__env *env = (ns__env *)data;
  ns_stream *s, *ready;
  (void)hook;
  ns__forget(env);
  uv_mutex_lock(&env->mutex);
  env->closed = 1;
  ready = env->ready;
  env->ready = NULL;
  uv_mutex_unlock(&env->mutex);
  for (s = env->streams; s != NULL; s = s->next) ns__cancel(s);
  (void)napi_delete_reference(env->env, env->constructor);
  if (env->context != NULL) (void)napi_async_destroy(env->env, env->context);
  while (ready != NULL) {
    ns_stream *next = ready->next_ready;
    ns__release(ready);
    ready = next;
  }
  ns__close_handles(env);
}

static napi_status ns__define_class(ns__env *env) {
  napi_status status;
  napi_value abi, constructor;
  napi_property_descriptor properties[] = {
      {"nestjsStreamingAbi", NULL, NULL, NULL, NULL, NULL, napi_default, NULL},
      {"take", NULL, ns__take, NULL, NULL, NULL, napi_default, NULL},
      {"cancel", NULL, ns__cancel_from_js, NULL, NULL, NULL, napi_default, NULL},
      {"claim", NULL, ns__claim, NULL, NULL, NULL, napi_default, NULL},
  };
  if ((status = napi_create_uint32(env->env, NS_ABI, &abi)) != napi_ok) return status;
  properties[0].value = abi;
  status = napi_define_class(env->env, "NativeStream", NAPI_AUTO_LENGTH, ns__construct, env,
                             sizeof properties / sizeof properties[0], properties, &constructor);
  return status != napi_ok ? status : napi_create_reference(env->env, constructor, 1, &env->constructor);
}

static napi_status ns__prepare(ns__env *env) {
  napi_status status = ns__define_class(env);
  return status != napi_ok ? status : napi_add_async_cleanup_hook(env->env, ns__on_cleanup, env, &env->hook);
}

static ns__env *ns__create_env(napi_env napi) {
  uv_loop_t *loop;
  ns__env *env = (ns__env *)calloc(1, sizeof *env);
  if (env == NULL) return NULL;
  env->env = napi;
  env->refs = 1;
  env->batch = (char *)malloc(NS__BATCH_BYTES);
  if (env->batch == NULL || napi_get_uv_event_loop(napi, &loop) != napi_ok || uv_mutex_init(&env->mutex) != 0) {
    free(env->batch);
    free(env);
    return NULL;
  }
  if (uv_async_init(loop, &env->async, ns__on_async) != 0) {
    ns__release_env(env);
    return NULL;
  }
  (void)uv_timer_init(loop, &env->timer);
  env->async.data = env->timer.data = env;
  env->open_handles = 2;
  uv_unref((uv_handle_t *)&env->async);
  uv_unref((uv_handle_t *)&env->timer);
  if (ns__prepare(env) != napi_ok) {
    ns__close_handles(env);
    return NULL;
  }
  uv_mutex_lock(&ns__envs_mutex);
  env->next = ns__envs;
  ns__envs = env;
  uv_mutex_unlock(&ns__envs_mutex);
  return env;
}

/* An addon that is loaded in several environments has one of these for each. */
static ns__env *ns__env_of(napi_env napi) {
  ns__env *env;
  uv_once(&ns__once, ns__init_once);
  uv_mutex_lock(&ns__envs_mutex);
  for (env = ns__envs; env != NULL && env->env != napi; env = env->next) {
  }
  uv_mutex_unlock(&ns__envs_mutex);
  return env != NULL ? env : ns__create_env(napi);
}

static ns_stream *ns__create_stream(ns__env *env, uint32_t capacity) {
  ns_stream *s = (ns_stream *)calloc(1, sizeof *s);
  if (s == NULL || (s->ring = (char *)malloc(capacity)) == NULL || uv_mutex_init(&s->mutex) != 0) {
    if (s != NULL) free(s->ring);
    free(s);
    return NULL;
  }
  if (uv_cond_init(&s->room) != 0) {
    uv_mutex_destroy(&s->mutex);
    free(s->ring);
    free(s);
    return NULL;
  }
  s->env = env;
  s->capacity = capacity;
  ns__store(&s->refs, 1);
  uv_mutex_lock(&env->mutex);
  env->refs++;
  uv_mutex_unlock(&env->mutex);
  return s;
}

NS_API ns_stream *ns_open(napi_env napi, const ns_options *options, napi_value *handle) {
  size_t bytes = options != NULL && options->ring_bytes != 0 ? options->ring_bytes : NS__DEFAULT_RING;
  uint32_t capacity = NS__SMALLEST_RING;
  bool pending = false;
  int64_t memory;
  ns__env *env;
  ns_stream *s = NULL;
  napi_value constructor;
  if (bytes > NS__LARGEST_RING) {
    (void)napi_throw_range_error(napi, "invalid-option", "ring_bytes is at most 1073741824");
    return NULL;
  }
  while (capacity < bytes) capacity *= 2;
  env = ns__env_of(napi);
  if (env != NULL) s = ns__create_stream(env, capacity);
  if (s != NULL) {
    env->opening = s;
    if (napi_get_reference_value(napi, env->constructor, &constructor) == napi_ok &&
        napi_new_instance(napi, constructor, 0, NULL, handle) == napi_ok) {
      (void)napi_adjust_external_memory(napi, (int64_t)capacity, &memory);
      return s;
    }
    env->opening = NULL;
    ns__release(s);
  }
  (void)napi_is_exception_pending(napi, &pending);
  if (!pending) (void)napi_throw_error(napi, NULL, "ns_open() failed: there is no memory, or the environment is ending");
  return NULL;
}

#ifdef __cplusplus
}
#endif

#endif /* NS_IMPLEMENTATION */
