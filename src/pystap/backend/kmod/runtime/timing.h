/* How long handlers take: protection against overload, and the report at the end (-t).
 *
 * STAP_TIMING is 0 (no report), 1 (cycles), 2 (nanoseconds) or 3 (hits are counted, handlers do
 * nothing else).  STP_OVERLOAD_INTERVAL is 0 when nothing watches for overload. */
#ifndef PYSTAP_TIMING_H
#define PYSTAP_TIMING_H

#include "string_ops.h"

#define STAP_TIMED (STAP_TIMING || STP_OVERLOAD_INTERVAL)

/* Runs of one probe on one CPU, by the same way as the variance of an aggregate. */
struct stap_hits {
	u64 count, sum, least, most;
	s64 mean;
	u64 m2;
};

static struct stap_hits *stap_hits; /* those of all probes for each CPU; NULL: no report */
static u64 stap_start_time; /* that the registration of all probes took */

static s64 stap_clock_monotonic(void);
static s64 stap_clock_cycles(void);

static u64 stap_clock(void)
{
	return STAP_TIMING == 2 ? stap_clock_monotonic() : stap_clock_cycles();
}

static int stap_hits_create(u32 probes)
{
	if (!STAP_TIMING)
		return 0;
	stap_hits = stap_memory_get((u64)stap_cpu_count() * probes * sizeof(*stap_hits));
	return stap_hits ? 0 : -ENOMEM;
}

static void stap_hits_destroy(void)
{
	stap_memory_put(stap_hits);
}

static void stap_hits_add(struct stap_hits *h, u64 time)
{
	s64 delta = time - h->mean;

	if (!h->count++ || time < h->least)
		h->least = time;
	if (time > h->most)
		h->most = time;
	h->sum += time;
	h->mean += stap_divide(delta, h->count);
	h->m2 += delta * (s64)(time - h->mean);
}

/* A run that began at `start` adds to what its CPU spends in handlers; whether that is too much.
 * Then the context tells how much, and in what time. */
static bool stap_overloads(struct stap_context *c, u64 start, u64 now)
{
	u64 interval;

	if (!c->watched_since)
		c->watched_since = start;
	c->watched_spent += now - start;
	interval = now - c->watched_since;
	if (interval <= STP_OVERLOAD_INTERVAL)
		return false;
	c->load_spent = c->watched_spent;
	c->load_interval = interval;
	c->watched_since = now;
	c->watched_spent = 0;
	return c->load_spent > STP_OVERLOAD_THRESHOLD;
}

#endif
