/* Probes in the kernel: every kind registers all of its probes or none. */
#ifndef PYSTAP_KERNEL_PROBES_H
#define PYSTAP_KERNEL_PROBES_H

#include <linux/hrtimer.h>
#include <linux/kprobes.h>
#include <linux/perf_event.h>
#include <linux/tracepoint.h>

#include "kernel_task.h"

static const char *failed_probe; /* the point that could not be registered */
static int failed_reason;

static int probe_failed(int index, int reason)
{
	failed_probe = probes[index].point;
	failed_reason = reason;
	return reason;
}

/* ---- timers ---- */

struct timer_probe {
	int probe;
	u64 period, randomize; /* ns */
	struct hrtimer timer;
	bool started;
};

static ktime_t timer_interval(const struct timer_probe *t)
{
	u64 interval = t->period, random;

	if (t->randomize) {
		get_random_bytes(&random, sizeof(random));
		interval += random % (2 * t->randomize + 1) - t->randomize;
	}
	return ns_to_ktime(interval < 10000 ? 10000 : interval);
}

static enum hrtimer_restart timer_fires(struct hrtimer *timer)
{
	struct timer_probe *t = container_of(timer, struct timer_probe, timer);
	struct event event = { .regs = get_irq_regs() };

	probe_hit(t->probe, &event);
	hrtimer_forward_now(timer, timer_interval(t));
	return HRTIMER_RESTART;
}

static int timers_start(struct timer_probe *timers, int count)
{
	int i;

	for (i = 0; i < count; i++) {
#ifdef HAVE_HRTIMER_SETUP
		hrtimer_setup(&timers[i].timer, timer_fires, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
#else
		hrtimer_init(&timers[i].timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
		timers[i].timer.function = timer_fires;
#endif
		timers[i].started = true;
		hrtimer_start(&timers[i].timer, timer_interval(&timers[i]), HRTIMER_MODE_REL);
	}
	return 0;
}

static void timers_stop(struct timer_probe *timers, int count)
{
	int i;

	for (i = 0; i < count; i++)
		if (timers[i].started)
			hrtimer_cancel(&timers[i].timer);
}

/* ---- perf events, the profile timer among them ---- */

struct perf_probe {
	int probe;
	u32 type;
	u64 config, period, frequency;
	struct perf_event **events; /* one for each CPU */
};

static void perf_fires(struct perf_event *event, struct perf_sample_data *data,
		       struct pt_regs *regs)
{
	struct perf_probe *p = event->overflow_handler_context;
	struct event here = { .regs = regs };

	probe_hit(p->probe, &here);
}

static int perf_start(struct perf_probe *probes_, int count)
{
	int i, cpu;

	for (i = 0; i < count; i++) {
		struct perf_probe *p = &probes_[i];
		struct perf_event_attr attr = {
			.type = p->type,
			.size = sizeof(attr),
			.config = p->config,
			.pinned = 1,
		};

		if (p->frequency) {
			attr.freq = 1;
			attr.sample_freq = p->frequency;
		} else {
			attr.sample_period = p->period ? p->period : 1000000;
		}
		p->events = kcalloc(nr_cpu_ids, sizeof(*p->events), GFP_KERNEL);
		if (!p->events)
			return probe_failed(p->probe, -ENOMEM);
		for_each_online_cpu(cpu) {
			struct perf_event *event = perf_event_create_kernel_counter(
				&attr, cpu, NULL, perf_fires, p);

			if (IS_ERR(event))
				return probe_failed(p->probe, PTR_ERR(event));
			p->events[cpu] = event;
		}
	}
	return 0;
}

static void perf_stop(struct perf_probe *probes_, int count)
{
	int i, cpu;

	for (i = 0; i < count; i++) {
		if (!probes_[i].events)
			continue;
		for_each_possible_cpu(cpu)
			if (probes_[i].events[cpu])
				perf_event_release_kernel(probes_[i].events[cpu]);
		kfree(probes_[i].events);
		probes_[i].events = NULL;
	}
}

/* ---- tracepoints ---- */

struct tracepoint_probe {
	int probe; /* the first of those that it serves, for messages */
	const char *name;
	void *function;
	struct tracepoint *found;
	bool started;
};

struct tracepoint_search {
	struct tracepoint_probe *probes;
	int count;
};

static void tracepoint_seen(struct tracepoint *tp, void *data)
{
	struct tracepoint_search *search = data;
	int i;

	for (i = 0; i < search->count; i++)
		if (!strcmp(search->probes[i].name, tp->name))
			search->probes[i].found = tp;
}

static int tracepoints_start(struct tracepoint_probe *tps, int count)
{
	struct tracepoint_search search = { tps, count };
	int i, error;

	if (!count)
		return 0;
	for_each_kernel_tracepoint(tracepoint_seen, &search);
	for (i = 0; i < count; i++) {
		if (!tps[i].found)
			return probe_failed(tps[i].probe, -ENOENT);
		error = tracepoint_probe_register(tps[i].found, tps[i].function, NULL);
		if (error)
			return probe_failed(tps[i].probe, error);
		tps[i].started = true;
	}
	return 0;
}

static void tracepoints_stop(struct tracepoint_probe *tps, int count)
{
	bool any = false;
	int i;

	for (i = 0; i < count; i++) {
		if (!tps[i].started)
			continue;
		tracepoint_probe_unregister(tps[i].found, tps[i].function, NULL);
		tps[i].started = false;
		any = true;
	}
	if (any)
		tracepoint_synchronize_unregister();
}

/* ---- system calls: two tracepoints for all of them ---- */

struct syscall_probe {
	int probe;
	int number; /* -1: every call */
};

static void syscalls_entered(const struct syscall_probe *entries, int count, struct pt_regs *regs,
			     long number)
{
	u64 args[6] = { regs->di, regs->si, regs->dx, regs->r10, regs->r8, regs->r9 };
	struct event event = { .args = args, .regs = regs, .number = number };
	int i;

	for (i = 0; i < count; i++)
		if (entries[i].number == number || entries[i].number < 0)
			probe_hit(entries[i].probe, &event);
}

static void syscalls_left(const struct syscall_probe *exits, int count, struct pt_regs *regs,
			  long result)
{
	u64 args[6] = { regs->di, regs->si, regs->dx, regs->r10, regs->r8, regs->r9 };
	long number = regs->orig_ax;
	struct event event = { args, regs, number, result };
	int i;

	for (i = 0; i < count; i++)
		if (exits[i].number == number || exits[i].number < 0)
			probe_hit(exits[i].probe, &event);
}

/* ---- functions of the kernel ---- */

struct function_probe {
	int probe;
	const char *symbol; /* NULL: address */
	u64 address;
	u32 offset;
	int maxactive;
	struct kprobe entry;
	struct kretprobe exit;
	bool started;
};

static int function_entered(struct kprobe *k, struct pt_regs *regs)
{
	struct function_probe *f = container_of(k, struct function_probe, entry);
	struct event event = { .regs = regs };

	probe_hit(f->probe, &event);
	return 0;
}

static int function_left(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	struct function_probe *f =
		container_of(get_kretprobe(instance), struct function_probe, exit);
	struct event event = { .regs = regs, .result = regs_return_value(regs) };

	probe_hit(f->probe, &event);
	return 0;
}

static int functions_start(struct function_probe *functions, int count, bool returns)
{
	int i, error;

	for (i = 0; i < count; i++) {
		struct function_probe *f = &functions[i];
		struct kprobe *k = returns ? &f->exit.kp : &f->entry;

		if (f->symbol)
			k->symbol_name = f->symbol;
		else
			k->addr = (void *)f->address;
		k->offset = f->offset;
		if (returns) {
			f->exit.handler = function_left;
			f->exit.maxactive = f->maxactive ? f->maxactive :
						max_t(int, 15, 6 * num_possible_cpus());
			error = register_kretprobe(&f->exit);
		} else {
			k->pre_handler = function_entered;
			error = register_kprobe(k);
		}
		if (error)
			return probe_failed(f->probe, error);
		f->started = true;
	}
	return 0;
}

/* How many hits the kernel could not give to a handler. */
static u64 functions_stop(struct function_probe *functions, int count, bool returns)
{
	u64 missed = 0;
	int i;

	for (i = 0; i < count; i++) {
		struct function_probe *f = &functions[i];

		if (!f->started)
			continue;
		f->started = false;
		if (returns) {
			unregister_kretprobe(&f->exit);
			missed += f->exit.nmissed + f->exit.kp.nmissed;
		} else {
			unregister_kprobe(&f->entry);
			missed += f->entry.nmissed;
		}
	}
	return missed;
}

/* ---- registers ---- */

static s64 __maybe_unused event_address(struct context *c)
{
	return c->event->regs ? instruction_pointer(c->event->regs) : 0;
}

static s64 __maybe_unused event_user_mode(struct context *c)
{
	return c->event->regs && user_mode(c->event->regs);
}

static s64 __maybe_unused event_argument(struct context *c, s64 index)
{
	struct pt_regs *regs = c->event->regs;
	s64 value = 0;

	if (!regs)
		return 0;
	switch (index) {
	case 0: return regs->di;
	case 1: return regs->si;
	case 2: return regs->dx;
	case 3: return regs->cx;
	case 4: return regs->r8;
	case 5: return regs->r9;
	}
	memory_read(&value, regs->sp + 8 * (index - 5), 8, user_mode(regs));
	return value;
}

/* By DWARF number. */
static s64 __maybe_unused event_register(struct context *c, s64 index)
{
	struct pt_regs *regs = c->event->regs;

	if (!regs)
		return 0;
	switch (index) {
	case 0: return regs->ax;
	case 1: return regs->dx;
	case 2: return regs->cx;
	case 3: return regs->bx;
	case 4: return regs->si;
	case 5: return regs->di;
	case 6: return regs->bp;
	case 7: return regs->sp;
	case 8: return regs->r8;
	case 9: return regs->r9;
	case 10: return regs->r10;
	case 11: return regs->r11;
	case 12: return regs->r12;
	case 13: return regs->r13;
	case 14: return regs->r14;
	case 15: return regs->r15;
	case 16: return regs->ip;
	case 49: return regs->flags;
	}
	return 0;
}

#endif
