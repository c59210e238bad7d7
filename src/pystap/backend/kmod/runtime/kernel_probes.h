/* Probes in the kernel: every kind registers all of its probes or none. */
#ifndef PYSTAP_KERNEL_PROBES_H
#define PYSTAP_KERNEL_PROBES_H

#include <linux/hrtimer.h>
#include <linux/kprobes.h>
#include <linux/perf_event.h>
#include <linux/tracepoint.h>

#include "kernel_stack.h"

static const char *stap_failed_probe; /* the point that could not be registered */
static int stap_failed_reason;

static int stap_probe_failed(int index, int reason)
{
	stap_failed_probe = stap_script->probes[index].point;
	stap_failed_reason = reason;
	return reason;
}

/* ---- timers ---- */

struct stap_timer_probe {
	int probe;
	u64 period, randomize; /* ns */
	struct hrtimer timer;
	bool started;
};

static ktime_t stap_timer_interval(const struct stap_timer_probe *t)
{
	u64 interval = t->period, random;

	if (t->randomize) {
		get_random_bytes(&random, sizeof(random));
		interval += random % (2 * t->randomize + 1) - t->randomize;
	}
	return ns_to_ktime(interval < 10000 ? 10000 : interval);
}

static enum hrtimer_restart stap_timer_fires(struct hrtimer *timer)
{
	struct stap_timer_probe *t = container_of(timer, struct stap_timer_probe, timer);
	struct stap_event event = { .regs = get_irq_regs() };

	stap_probe_hit(t->probe, &event);
	hrtimer_forward_now(timer, stap_timer_interval(t));
	return HRTIMER_RESTART;
}

static int stap_timers_start(struct stap_timer_probe *timers, int count)
{
	int i;

	for (i = 0; i < count; i++) {
#ifdef STAP_HAVE_HRTIMER_SETUP
		hrtimer_setup(&timers[i].timer, stap_timer_fires, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
#else
		hrtimer_init(&timers[i].timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
		timers[i].timer.function = stap_timer_fires;
#endif
		timers[i].started = true;
		hrtimer_start(&timers[i].timer, stap_timer_interval(&timers[i]), HRTIMER_MODE_REL);
	}
	return 0;
}

static void stap_timers_stop(struct stap_timer_probe *timers, int count)
{
	int i;

	for (i = 0; i < count; i++)
		if (timers[i].started)
			hrtimer_cancel(&timers[i].timer);
}

/* ---- perf events, the profile timer among them ---- */

struct stap_perf_probe {
	int probe;
	u32 type;
	u64 config, period, frequency;
	struct perf_event **events; /* one for each CPU */
};

static void stap_perf_fires(struct perf_event *event, struct perf_sample_data *data,
		       struct pt_regs *regs)
{
	struct stap_perf_probe *p = event->overflow_handler_context;
	struct stap_event here = { .regs = regs };

	stap_probe_hit(p->probe, &here);
}

static int stap_perf_start(struct stap_perf_probe *probes_, int count)
{
	int i, cpu;

	for (i = 0; i < count; i++) {
		struct stap_perf_probe *p = &probes_[i];
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
			return stap_probe_failed(p->probe, -ENOMEM);
		for_each_online_cpu(cpu) {
			struct perf_event *event = perf_event_create_kernel_counter(
				&attr, cpu, NULL, stap_perf_fires, p);

			if (IS_ERR(event))
				return stap_probe_failed(p->probe, PTR_ERR(event));
			p->events[cpu] = event;
		}
	}
	return 0;
}

static void stap_perf_stop(struct stap_perf_probe *probes_, int count)
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

struct stap_tracepoint_probe {
	int probe; /* the first of those that it serves, for messages */
	const char *name;
	void *function;
	struct tracepoint *found;
	bool started;
};

struct stap_tracepoint_search {
	struct stap_tracepoint_probe *probes;
	int count;
};

static void stap_tracepoint_seen(struct tracepoint *tp, void *data)
{
	struct stap_tracepoint_search *search = data;
	int i;

	for (i = 0; i < search->count; i++)
		if (!strcmp(search->probes[i].name, tp->name))
			search->probes[i].found = tp;
}

static int stap_tracepoints_start(struct stap_tracepoint_probe *tps, int count)
{
	struct stap_tracepoint_search search = { tps, count };
	int i, error;

	if (!count)
		return 0;
	for_each_kernel_tracepoint(stap_tracepoint_seen, &search);
	for (i = 0; i < count; i++) {
		if (!tps[i].found)
			return stap_probe_failed(tps[i].probe, -ENOENT);
		error = tracepoint_probe_register(tps[i].found, tps[i].function, NULL);
		if (error)
			return stap_probe_failed(tps[i].probe, error);
		tps[i].started = true;
	}
	return 0;
}

static void stap_tracepoints_stop(struct stap_tracepoint_probe *tps, int count)
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

struct stap_syscall_probe {
	int probe;
	int number; /* -1: every call */
};

static void stap_syscalls_entered(const struct stap_syscall_probe *entries, int count, struct pt_regs *regs,
			     long number)
{
	u64 args[6] = { regs->di, regs->si, regs->dx, regs->r10, regs->r8, regs->r9 };
	struct stap_event event = {
		.args = args, .regs = regs, .number = number, .has_stack = true,
	};
	int i;

	for (i = 0; i < count; i++)
		if (entries[i].number == number || entries[i].number < 0)
			stap_probe_hit(entries[i].probe, &event);
}

static void stap_syscalls_left(const struct stap_syscall_probe *exits, int count, struct pt_regs *regs,
			  long result)
{
	u64 args[6] = { regs->di, regs->si, regs->dx, regs->r10, regs->r8, regs->r9 };
	long number = regs->orig_ax;
	struct stap_event event = {
		.args = args, .regs = regs, .number = number, .result = result,
		.has_stack = true,
	};
	int i;

	for (i = 0; i < count; i++)
		if (exits[i].number == number || exits[i].number < 0)
			stap_probe_hit(exits[i].probe, &event);
}

/* ---- functions of the kernel ---- */

struct stap_function_probe {
	int probe;
	const char *symbol; /* NULL: address */
	u64 address;
	u32 offset;
	int maxactive;
	struct kprobe entry;
	struct kretprobe exit;
	u64 shown; /* where the function begins, or the instruction inside of it is */
	bool started;
};

/* Where the place of a kprobe is for a script: not behind the instruction that marks entries. */
static u64 stap_function_place(const struct stap_function_probe *f)
{
	u64 address = (u64)f->entry.addr;
	u32 before;

	if (f->offset || copy_from_kernel_nofault(&before, (void *)(address - 4), 4))
		return address;
	/* endbr64, and what kernels put there when nothing needs it */
	if (before == 0xfa1e0ff3 || before == 0x001f0f66 || before == 0xd6401f0f)
		return address - 4;
	return address;
}

static int stap_function_entered(struct kprobe *k, struct pt_regs *regs)
{
	struct stap_function_probe *f = container_of(k, struct stap_function_probe, entry);
	struct stap_event event = { .regs = regs, .address = f->shown };

	stap_probe_hit(f->probe, &event);
	return 0;
}

static int stap_function_left(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	struct stap_function_probe *f =
		container_of(get_kretprobe(instance), struct stap_function_probe, exit);
	struct stap_event event = { .regs = regs, .result = regs_return_value(regs) };

	stap_probe_hit(f->probe, &event);
	return 0;
}

static int stap_functions_start(struct stap_function_probe *functions, int count, bool returns)
{
	int i, error;

	for (i = 0; i < count; i++) {
		struct stap_function_probe *f = &functions[i];
		struct kprobe *k = returns ? &f->exit.kp : &f->entry;

		if (f->symbol)
			k->symbol_name = f->symbol;
		else
			k->addr = (void *)f->address;
		k->offset = f->offset;
		if (returns) {
			f->exit.handler = stap_function_left;
			f->exit.maxactive = f->maxactive ? f->maxactive :
						max_t(int, 15, 6 * num_possible_cpus());
			error = register_kretprobe(&f->exit);
		} else {
			k->pre_handler = stap_function_entered;
			error = register_kprobe(k);
			f->shown = stap_function_place(f);
		}
		if (error)
			return stap_probe_failed(f->probe, error);
		f->started = true;
	}
	return 0;
}

/* How many hits the kernel could not give to a handler. */
static u64 stap_functions_stop(struct stap_function_probe *functions, int count, bool returns)
{
	u64 missed = 0;
	int i;

	for (i = 0; i < count; i++) {
		struct stap_function_probe *f = &functions[i];

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

static s64 __maybe_unused stap_event_address(struct stap_context *c)
{
	if (c->event->address)
		return c->event->address;
	return c->event->regs ? instruction_pointer(c->event->regs) : 0;
}

static s64 __maybe_unused stap_event_user_mode(struct stap_context *c)
{
	return c->event->regs && user_mode(c->event->regs);
}

static s64 __maybe_unused stap_event_argument(struct stap_context *c, s64 index)
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
	stap_memory_read(&value, regs->sp + 8 * (index - 5), 8, user_mode(regs));
	return value;
}

/* By DWARF number. */
static s64 __maybe_unused stap_event_register(struct stap_context *c, s64 index)
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
	case 16: return stap_event_address(c);
	case 49: return regs->flags;
	case 51: return regs->cs & 0xffff;
	case 52: return regs->ss & 0xffff;
	}
	return 0;
}

#endif
