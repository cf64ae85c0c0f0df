// Producers in threads of their own: ring(count, ms) returns a handle for fromNative(), and calls(count, ms, onToken) calls a function of JavaScript for every token, and
// then with null. `ms` is the time between two tokens; 0 for a flood.
#define NS_IMPLEMENTATION
#include <nestjs_streaming.h>

#include <chrono>
#include <cstdlib>
#include <string>
#include <thread>

namespace {

const size_t kTokenBytes = 54;
const size_t kQueuedCalls = 1000;

// Calls `send` with every token, until it returns false. Threads that are started at the same time do not send at the same time.
template <typename Send>
void Produce(uint32_t count, uint32_t ms, Send send) {
  const std::string token(kTokenBytes, 'x');
  std::chrono::milliseconds wait(ms > 0 ? std::rand() % ms : 0);
  for (uint32_t i = 0; i < count; i++) {
    std::this_thread::sleep_for(wait);
    if (!send(token)) break;
    wait = std::chrono::milliseconds(ms);
  }
}

void FillRing(ns_stream* stream, uint32_t count, uint32_t ms) {
  Produce(count, ms, [stream](const std::string& token) {
    int taken;
    while ((taken = ns_send_chunk(stream, token.data(), token.size())) == 0) {
      ns_wait_room(stream, -1);
    }
    return taken > 0;
  });
  ns_close_chunk(stream, nullptr);
}

void Call(napi_threadsafe_function function, uint32_t count, uint32_t ms) {
  const auto send = [function](const std::string& token) {
    return napi_call_threadsafe_function(function, new std::string(token), napi_tsfn_blocking) == napi_ok;
  };
  Produce(count, ms, send);
  napi_call_threadsafe_function(function, nullptr, napi_tsfn_blocking);
  napi_release_threadsafe_function(function, napi_tsfn_release);
}

void OnCall(napi_env env, napi_value callback, void*, void* data) {
  std::string* token = static_cast<std::string*>(data);
  napi_value self, argument;
  if (env != nullptr && napi_get_undefined(env, &self) == napi_ok &&
      (token != nullptr ? napi_create_string_utf8(env, token->data(), token->size(), &argument)
                        : napi_get_null(env, &argument)) == napi_ok) {
    napi_call_function(env, self, callback, 1, &argument, nullptr);
  }
  delete token;
}

bool GetArguments(napi_env env, napi_callback_info info, uint32_t* count, uint32_t* ms, napi_value* callback) {
  size_t argc = 3;
  napi_value argv[3];
  if (napi_get_cb_info(env, info, &argc, argv, nullptr, nullptr) != napi_ok ||
      napi_get_value_uint32(env, argv[0], count) != napi_ok || napi_get_value_uint32(env, argv[1], ms) != napi_ok) {
    napi_throw_type_error(env, nullptr, "(count: number, ms: number)");
    return false;
  }
  *callback = argv[2];
  return true;
}

napi_value Ring(napi_env env, napi_callback_info info) {
  uint32_t count, ms;
  napi_value unused, handle;
  if (!GetArguments(env, info, &count, &ms, &unused)) return nullptr;
  ns_stream* stream = ns_open(env, nullptr, &handle);
  if (stream == nullptr) return nullptr;
  std::thread(FillRing, stream, count, ms).detach();
  return handle;
}

napi_value Calls(napi_env env, napi_callback_info info) {
  uint32_t count, ms;
  napi_value callback, name;
  napi_threadsafe_function function;
  if (!GetArguments(env, info, &count, &ms, &callback)) return nullptr;
  if (napi_create_string_utf8(env, "token", NAPI_AUTO_LENGTH, &name) != napi_ok ||
      napi_create_threadsafe_function(env, callback, nullptr, name, kQueuedCalls, 1, nullptr, nullptr, nullptr, OnCall,
                                      &function) != napi_ok) {
    napi_throw_error(env, nullptr, "There is no threadsafe function");
    return nullptr;
  }
  std::thread(Call, function, count, ms).detach();
  return nullptr;
}

}  // namespace

NAPI_MODULE_INIT() {
  napi_value ring, calls;
  if (napi_create_function(env, "ring", NAPI_AUTO_LENGTH, Ring, nullptr, &ring) != napi_ok ||
      napi_set_named_property(env, exports, "ring", ring) != napi_ok ||
      napi_create_function(env, "calls", NAPI_AUTO_LENGTH, Calls, nullptr, &calls) != napi_ok ||
      napi_set_named_property(env, exports, "calls", calls) != napi_ok) {
    return nullptr;
  }
  return exports;
}
