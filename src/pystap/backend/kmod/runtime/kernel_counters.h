/* Counters of the kernel's performance events, told apart by task (@perf).
 *
 * The events count on every CPU, whatever runs there.  When a CPU changes tasks, the one that
 * leaves is given what they counted since the last time; what they counted since then belongs to
 * the task that runs. */
#ifndef PYSTAP_KERNEL_COUNTERS_H
#define PYSTAP_KERNEL_COUNTERS_H

#include <linux/hash.h>
#include <linux/perf_event.h>

#include "kernel_probes.h"

struct stap_counter {
	int probe;
	u32 type;
	u64 config;
	struct perf_event **events; /* one for each CPU */
};

/* What a task's events counted while it was on a CPU.  Only the CPU that the task is on looks at
 * the numbers. */
struct stap_counts {
	atomic_t tid; /* 0: nobody's */
	u64 count[STAP_COUNTERS];
};

#define STAP_COUNT_BITS 13 /* of the number of buckets */
#define STAP_COUNT_BUCKET 16 /* tasks of a bucket */

static struct stap_counter *stap_the_counters;
static struct stap_counts *stap_counts;
static struct stap_counts *stap_counted; /* for each CPU: what the events told last */

/* The numbers of a task; NULL when there are none. */
static struct stap_counts *stap_counts_of(pid_t tid)
{
	struct stap_counts *s =
		&stap_counts[hash_32(tid, STAP_COUNT_BITS) * STAP_COUNT_BUCKET];
	int i;

	for (i = 0; i < STAP_COUNT_BUCKET; i++)
		if (atomic_read(&s[i].tid) == tid)
			return &s[i];
	return NULL;
}

/* The same, which are made; NULL where there is no room. */
static struct stap_counts *stap_counts_make(pid_t tid)
{
	struct stap_counts *s = stap_counts_of(tid);
	int i;

	if (s)
		return s;
	s = &stap_counts[hash_32(tid, STAP_COUNT_BITS) * STAP_COUNT_BUCKET];
	for (i = 0; i < STAP_COUNT_BUCKET; i++)
		if (!atomic_read(&s[i].tid) && !atomic_cmpxchg(&s[i].tid, 0, tid)) {
			memset(s[i].count, 0, sizeof(s[i].count));
			return &s[i];
		}
	return NULL;
}

/* What an event counted on this CPU so far; interrupts are off. */
static u64 stap_counter_read(const struct stap_counter *counter)
{
	struct perf_event *event = counter->events[raw_smp_processor_id()];

	if (!event)
		return 0;
	if (READ_ONCE(event->oncpu) == raw_smp_processor_id())
		event->pmu->read(event);
	return local64_read(&event->count);
}

/* What the events of this CPU told last.  What they counted before anybody looks, while probes
 * are being registered, is nobody's. */
static struct stap_counts *stap_counted_here(void)
{
	struct stap_counts *last = &stap_counted[raw_smp_processor_id()];
	int i;

	if (!atomic_read(&last->tid)) {
		atomic_set(&last->tid, 1);
		for (i = 0; i < STAP_COUNTERS; i++)
			last->count[i] = stap_counter_read(&stap_the_counters[i]);
	}
	return last;
}

/* The current task leaves the CPU. */
static void stap_counters_switch(void *data)
{
	struct stap_counts *last = stap_counted_here(), *to = NULL;
	bool dead = READ_ONCE(current->__state) & TASK_DEAD;
	int i;

	if (current->pid && dead)
		to = stap_counts_of(current->pid);
	else if (current->pid)
		to = stap_counts_make(current->pid);
	if (!to && current->pid && !dead)
		atomic_inc(&stap_session_skipped);
	for (i = 0; i < STAP_COUNTERS; i++) {
		u64 now = stap_counter_read(&stap_the_counters[i]);

		if (to)
			to->count[i] += now - last->count[i];
		last->count[i] = now;
	}
	if (to && dead)
		atomic_set(&to->tid, 0);
}

/* What a counter counted in the current task. */
static s64 __maybe_unused stap_counter_value(int index)
{
	struct stap_counts *last, *own;
	unsigned long flags;
	u64 value;

	local_irq_save(flags);
	last = stap_counted_here();
	own = stap_counts_of(current->pid);
	value = stap_counter_read(&stap_the_counters[index]) - last->count[index];
	if (own)
		value += own->count[index];
	local_irq_restore(flags);
	return value;
}

static int stap_counter_open(struct stap_counter *counter)
{
	struct perf_event_attr attr = {
		.type = counter->type,
		.size = sizeof(attr),
		.config = counter->config,
	};
	int cpu;

	counter->events = kcalloc(nr_cpu_ids, sizeof(*counter->events), GFP_KERNEL);
	if (!counter->events)
		return -ENOMEM;
	for_each_online_cpu(cpu) {
		struct perf_event *event =
			perf_event_create_kernel_counter(&attr, cpu, NULL, NULL, NULL);

		if (IS_ERR(event))
			return PTR_ERR(event);
		counter->events[cpu] = event;
	}
	return 0;
}

static int stap_counters_start(struct stap_counter *counters, int count)
{
	u64 size = sizeof(*stap_counts) * STAP_COUNT_BUCKET << STAP_COUNT_BITS;
	int i, error;

	stap_the_counters = counters;
	stap_counts = stap_memory_get(size);
	stap_counted = stap_memory_get(sizeof(*stap_counted) * nr_cpu_ids);
	if (!stap_counts || !stap_counted)
		return stap_probe_failed(counters[0].probe, -ENOMEM);
	for (i = 0; i < count; i++) {
		error = stap_counter_open(&counters[i]);
		if (error)
			return stap_probe_failed(counters[i].probe, error);
	}
	return 0;
}

static void stap_counters_stop(struct stap_counter *counters, int count)
{
	int i, cpu;

	for (i = 0; i < count; i++) {
		for_each_possible_cpu(cpu)
			if (counters[i].events && counters[i].events[cpu])
				perf_event_release_kernel(counters[i].events[cpu]);
		kfree(counters[i].events);
		counters[i].events = NULL;
	}
	stap_memory_put(stap_counts);
	stap_memory_put(stap_counted);
	stap_counts = stap_counted = NULL;
}

#endif
