// Streams tokens from a C++ thread, as a model does that computes in C++.
#define NS_IMPLEMENTATION
#include <nestjs_streaming.h>

#include <chrono>
#include <string>
#include <thread>

namespace {

// Computes tokens. It does not enter JavaScript, and runs in a thread of its own.
void Generate(ns_stream* stream, uint32_t count, uint32_t ms) {
  for (uint32_t i = 1; i <= count; i++) {
    std::this_thread::sleep_for(std::chrono::milliseconds(ms));  // In place of a computation.
    const std::string token = "token " + std::to_string(i);
    int taken;
    while ((taken = ns_send_chunk(stream, token.data(), token.size())) == 0) {
      ns_wait_room(stream, -1);  // The client reads slowly.
    }
    if (taken < 0) {
      break;  // The client is gone.
    }
  }
  ns_close_chunk(stream, nullptr);  // Always, also if the client is gone.
}

// tokens(count: number, ms: number): a handle for fromNative()
napi_value Tokens(napi_env env, napi_callback_info info) {
  size_t argc = 2;
  napi_value argv[2];
  uint32_t count;
  uint32_t ms;
  if (napi_get_cb_info(env, info, &argc, argv, nullptr, nullptr) != napi_ok ||
      napi_get_value_uint32(env, argv[0], &count) != napi_ok || napi_get_value_uint32(env, argv[1], &ms) != napi_ok) {
    napi_throw_type_error(env, nullptr, "tokens(count: number, ms: number)");
    return nullptr;
  }
  napi_value handle;
  ns_stream* stream = ns_open(env, nullptr, &handle);
  if (stream == nullptr) {
    return nullptr;  // An exception is pending.
  }
  std::thread(Generate, stream, count, ms).detach();
  return handle;
}

}  // namespace

NAPI_MODULE_INIT() {
  napi_value tokens;
  if (napi_create_function(env, "tokens", NAPI_AUTO_LENGTH, Tokens, nullptr, &tokens) != napi_ok ||
      napi_set_named_property(env, exports, "tokens", tokens) != napi_ok) {
    return nullptr;
  }
  return exports;
}
