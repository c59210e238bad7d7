/* Probes in the kernel: every kind registers all of its probes or none. */
#ifndef PYSTAP_KERNEL_PROBES_H
#define PYSTAP_KERNEL_PROBES_H

#include <linux/hrtimer.h>
#include <linux/perf_event.h>
#include <linux/tracepoint.h>

#include "kernel_stack.h"

/* The symbol is only near the place. */
#define STAP_ANCHORED (-3)

/* A place in the kernel: the session's process finds addresses that the kernel does not tell. */
struct stap_place {
	const char *symbol; /* MODULE:SYMBOL in a module */
	int instance; /* of several of the name; -1: the name is enough; STAP_ANCHORED */
	u64 address; /* 0: not known */
	u64 size; /* of data, in bytes; 0: not known */
};

static const char *stap_failed_probe; /* the point that could not be registered */
static int stap_failed_reason;

static int stap_probe_failed(int index, int reason)
{
	stap_failed_probe = stap_script->probes[index].point;
	stap_failed_reason = reason;
	return reason;
}

/* A place that the kernel refuses: the others are probed without it. */
static void __maybe_unused stap_probe_left_out(int index, int reason)
{
	char text[512];
	int size = snprintf(text, sizeof(text),
			    "probe %s registration error [man warning::pass5] (rc %d)",
			    stap_script->probes[index].point, reason);

	stap_transport_message(STAP_MESSAGE_WARNING, text, min_t(int, size, sizeof(text) - 1),
			       false);
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

struct stap_who;

struct stap_perf_probe {
	int probe;
	u32 type;
	u64 config, period, frequency;
	bool (*fits)(const struct stap_who *who); /* NULL: all samples count */
	const struct stap_who *who;
	struct perf_event **events; /* one for each CPU */
};

static void stap_perf_fires(struct perf_event *event, struct perf_sample_data *data,
		       struct pt_regs *regs)
{
	struct stap_perf_probe *p = event->overflow_handler_context;
	struct stap_event here = { .regs = regs };

	if (!p->fits || p->fits(p->who))
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
	const char *module; /* of the kernel, that it is in; NULL: none */
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
		if (!search->probes[i].module && !strcmp(search->probes[i].name, tp->name))
			search->probes[i].found = tp;
}

/* Tracepoints of a module that comes are probed then, as are those of one that is there when this
 * is registered; those of one that goes no longer. */
static struct stap_tracepoint_search stap_module_tracepoints;

static void stap_tracepoint_come(struct stap_tracepoint_probe *tp, struct module *module)
{
	unsigned int i;
	int error;

	for (i = 0; i < module->num_tracepoints; i++) {
		struct tracepoint *one = tracepoint_ptr_deref(&module->tracepoints_ptrs[i]);

		if (strcmp(tp->name, one->name))
			continue;
		tp->found = one;
		error = tracepoint_probe_register(one, tp->function, NULL);
		tp->started = !error;
		if (error)
			stap_probe_left_out(tp->probe, error);
		return;
	}
}

static int stap_tracepoints_change(struct notifier_block *self, unsigned long state, void *data)
{
	struct stap_tracepoint_search *all = &stap_module_tracepoints;
	struct module *module = ((struct tp_module *)data)->mod;
	bool gone = false;
	int i;

	for (i = 0; i < all->count; i++) {
		struct stap_tracepoint_probe *tp = &all->probes[i];

		if (!tp->module || strcmp(tp->module, module->name))
			continue;
		if (state == MODULE_STATE_COMING && !tp->started)
			stap_tracepoint_come(tp, module);
		if (state == MODULE_STATE_GOING && tp->started) {
			tracepoint_probe_unregister(tp->found, tp->function, NULL);
			tp->started = false;
			gone = true;
		}
	}
	if (gone)
		tracepoint_synchronize_unregister();
	return 0;
}

static struct notifier_block stap_tracepoints_of_modules = {
	.notifier_call = stap_tracepoints_change,
};

/* One whose module is not there is left out, and said so, until that comes. */
static int stap_tracepoints_follow(struct stap_tracepoint_probe *tps, int count)
{
	int i, error;

	stap_module_tracepoints = (struct stap_tracepoint_search){ tps, count };
	error = register_tracepoint_module_notifier(&stap_tracepoints_of_modules);
	if (error) {
		stap_module_tracepoints.count = 0;
		return error;
	}
	for (i = 0; i < count; i++)
		if (tps[i].module && !tps[i].found)
			stap_probe_left_out(tps[i].probe, -ENOENT);
	return 0;
}

static int stap_tracepoints_start(struct stap_tracepoint_probe *tps, int count)
{
	struct stap_tracepoint_search search = { tps, count };
	bool modules = false;
	int i, error;

	for_each_kernel_tracepoint(stap_tracepoint_seen, &search);
	for (i = 0; i < count; i++) {
		if (tps[i].module) {
			modules = true;
			continue;
		}
		if (!tps[i].found)
			return stap_probe_failed(tps[i].probe, -ENOENT);
		error = tracepoint_probe_register(tps[i].found, tps[i].function, NULL);
		if (error)
			return stap_probe_failed(tps[i].probe, error);
		tps[i].started = true;
	}
	return modules ? stap_tracepoints_follow(tps, count) : 0;
}

static void stap_tracepoints_stop(struct stap_tracepoint_probe *tps, int count)
{
	bool any = false;
	int i;

	if (stap_module_tracepoints.count && stap_module_tracepoints.probes == tps) {
		unregister_tracepoint_module_notifier(&stap_tracepoints_of_modules);
		stap_module_tracepoints.count = 0;
	}
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

static void __maybe_unused stap_syscall_event(struct stap_event *event, u64 *args,
					      struct pt_regs *regs, long number, long result)
{
	args[0] = regs->di;
	args[1] = regs->si;
	args[2] = regs->dx;
	args[3] = regs->r10;
	args[4] = regs->r8;
	args[5] = regs->r9;
	*event = (struct stap_event){
		.args = args, .regs = regs, .number = number, .result = result, .has_stack = true,
	};
}

/* ---- places that the session's process finds ---- */

/* "placeINDEX SYMBOL INSTANCE" for each whose address is wanted. */
static void stap_places_ask(struct seq_file *file)
{
	struct stap_place *const *places = stap_script->places;
	int i;

	for (i = 0; places && places[i]; i++)
		if (!places[i]->address)
			seq_printf(file, "place%d %s %d\n", i, places[i]->symbol,
				   places[i]->instance);
}

/* Take the answer "place INDEX ADDRESS SIZE"; whether it was one. */
static bool stap_place_told(const char *word)
{
	struct stap_place *const *places = stap_script->places;
	u32 index, i;
	u64 address, size;

	if (sscanf(word, "place %u %llx %llu", &index, &address, &size) != 3)
		return false;
	for (i = 0; places && places[i]; i++)
		if (i == index) {
			places[i]->address = address;
			places[i]->size = size;
			return true;
		}
	return false;
}

#endif
