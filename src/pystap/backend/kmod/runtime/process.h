/* The kernel's names in a process, as far as the runtime uses them; one CPU, one thread. */
#ifndef PYSTAP_PROCESS_H
#define PYSTAP_PROCESS_H

#define _GNU_SOURCE
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int8_t s8;
typedef int16_t s16;
typedef int32_t s32;
typedef int64_t s64;

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define U32_MAX UINT32_MAX
#define S64_MAX INT64_MAX
#define S64_MIN INT64_MIN
#define READ_ONCE(x) (*(volatile __typeof__(x) *)&(x))
#define WRITE_ONCE(x, v) (*(volatile __typeof__(x) *)&(x) = (v))
#define __aligned(n) __attribute__((aligned(n)))
#define __maybe_unused __attribute__((unused))
#define min_t(type, a, b) ((type)(a) < (type)(b) ? (type)(a) : (type)(b))
#define max_t(type, a, b) ((type)(a) > (type)(b) ? (type)(a) : (type)(b))
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

typedef struct { s64 value; } atomic64_t;
typedef struct { int value; } atomic_t;
#define ATOMIC64_INIT(n) { n }
#define ATOMIC_INIT(n) { n }
#define atomic64_read(a) ((a)->value)
#define atomic64_set(a, n) ((a)->value = (n))
#define atomic64_add(n, a) ((a)->value += (n))
#define atomic64_inc_return(a) (++(a)->value)
#define atomic64_try_cmpxchg(a, old, new) \
	((a)->value == *(old) ? ((a)->value = (new), 1) : (*(old) = (a)->value, 0))
#define atomic_read(a) ((a)->value)
#define atomic_set(a, n) ((a)->value = (n))
#define atomic_inc(a) ((a)->value++)
#define atomic_inc_return(a) (++(a)->value)
#define atomic_cmpxchg(a, old, new) \
	({ int was_ = (a)->value; if (was_ == (old)) (a)->value = (new); was_; })
#define udelay(n) ((void)(n))

#define stap_this_cpu() 0
#define stap_cpu_count() 1
#define stap_memory_get(size) calloc(1, size)
#define stap_memory_put(at) free(at)

typedef int stap_guard_t;
#define stap_guard_init(g) ((void)(g))
#define stap_guard_take(g, flags) ((void)(g), (flags) = 0)
#define stap_guard_drop(g, flags) ((void)(g), (void)(flags))

static inline u64 ktime_get_real_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec * 1000000000ull + now.tv_nsec;
}

#endif
