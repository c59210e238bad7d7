/* Hardware watchpoints: the processor tells of writes to a place in memory, or of all accesses. */
#ifndef PYSTAP_KERNEL_WATCH_H
#define PYSTAP_KERNEL_WATCH_H

#include <linux/hw_breakpoint.h>

#include "kernel_files.h"
#include "kernel_probes.h"

struct stap_watch {
	int probe;
	struct stap_place place;
	u32 length; /* 0: as much of the place as can be watched */
	bool reads;
	struct stap_who who;
	struct perf_event *__percpu *events;
};

static void stap_watch_fires(struct perf_event *event, struct perf_sample_data *data,
			     struct pt_regs *regs)
{
	struct stap_watch *w = event->overflow_handler_context;
	struct stap_event here = { .regs = regs };

	if (stap_who_fits(&w->who))
		stap_probe_hit(w->probe, &here);
}

/* The most that a watchpoint can hold from the beginning of a place. */
static u32 stap_watch_length(const struct stap_place *place)
{
	u64 size = place->size ?: HW_BREAKPOINT_LEN_8;
	u32 length = HW_BREAKPOINT_LEN_8;

	while (length > 1 && (place->address % length || length > size))
		length /= 2;
	return length;
}

static int stap_watch_start(struct stap_watch *w)
{
	struct perf_event_attr attr;
	int error;

	if (!w->place.address)
		return -ENOENT;
	hw_breakpoint_init(&attr);
	attr.bp_addr = w->place.address;
	attr.bp_len = w->length ?: stap_watch_length(&w->place);
	attr.bp_type = w->reads ? HW_BREAKPOINT_RW : HW_BREAKPOINT_W;
	w->events = register_wide_hw_breakpoint(&attr, stap_watch_fires, w);
	error = PTR_ERR_OR_ZERO((void __force *)w->events);
	if (error)
		w->events = NULL;
	return error;
}

/* A place that cannot be watched, or one too many, is left out, and said so. */
static int stap_watches_start(struct stap_watch *watches, int count)
{
	int i, error;

	for (i = 0; i < count; i++) {
		error = stap_watch_start(&watches[i]);
		if (error)
			stap_probe_left_out(watches[i].probe, error);
	}
	return 0;
}

static void stap_watches_stop(struct stap_watch *watches, int count)
{
	int i;

	for (i = 0; i < count; i++) {
		if (watches[i].events)
			unregister_wide_hw_breakpoint(watches[i].events);
		watches[i].events = NULL;
	}
}

#endif
