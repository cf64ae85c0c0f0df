#include "threads.h"

#include <atomic>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>

namespace {

std::atomic<int64_t> taken{0};
std::atomic<int64_t> full{0};
std::atomic<int64_t> waiting{0};
std::atomic<int64_t> gone{0};
std::atomic<int64_t> running{0};

// A chunk says which thread sent it, and its number: "3:17:xxxx".
void Produce(ns_stream* stream, uint32_t thread, uint32_t count, uint32_t size, std::shared_ptr<std::atomic<uint32_t>> left) {
  for (uint32_t i = 0; i < count; i++) {
    std::string chunk = std::to_string(thread) + ":" + std::to_string(i) + ":";
    chunk.resize(chunk.size() < size ? size : chunk.size(), 'x');
    int result;
    while ((result = ns_send_chunk(stream, chunk.data(), chunk.size())) == 0) {
      full++;
      waiting++;
      ns_wait_room(stream, -1);
      waiting--;
    }
    if (result < 0) {
      gone++;
      break;
    }
    taken++;
  }
  if (--*left == 0) {
    ns_close_chunk(stream, nullptr);
  }
  running--;
}

}  // namespace

void start_flood(ns_stream* stream, uint32_t threads, uint32_t count, uint32_t size) {
  auto left = std::make_shared<std::atomic<uint32_t>>(threads);
  running += threads;
  for (uint32_t thread = 0; thread < threads; thread++) {
    std::thread(Produce, stream, thread, count, size, left).detach();
  }
}

int64_t read_figure(uint32_t index) {
  const std::atomic<int64_t>* figures[FIGURES] = {&taken, &full, &waiting, &gone, &running};
  return *figures[index];
}
