#include <nestjs_streaming.h>
#include <stdint.h>

#define FIGURES 5

#ifdef __cplusplus
extern "C" {
#endif

void start_flood(ns_stream *stream, uint32_t threads, uint32_t count, uint32_t size);
int64_t read_figure(uint32_t index);

#ifdef __cplusplus
}
#endif
