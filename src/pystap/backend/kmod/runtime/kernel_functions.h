/* Functions of the kernel: kprobes and kretprobes. */
#ifndef PYSTAP_KERNEL_FUNCTIONS_H
#define PYSTAP_KERNEL_FUNCTIONS_H

#include "kernel_symbols.h"

struct stap_function_probe {
	int probe;
	struct stap_place place;
	bool later; /* the function's module need not be there yet */
	s64 apart; /* how far behind the symbol the function begins */
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
	return f->offset ? (u64)f->entry.addr : stap_entry_of((u64)f->entry.addr);
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

static int stap_function_start(struct stap_function_probe *f, bool returns)
{
	struct kprobe *k = returns ? &f->exit.kp : &f->entry;
	u64 near = f->place.instance == STAP_ANCHORED ? stap_symbol_find(f->place.symbol) : 0;
	int error;

	if (near)
		k->addr = (void *)(near + f->apart);
	else if (f->place.instance == STAP_ANCHORED)
		return -ENOENT;
	else if (f->place.address)
		k->addr = (void *)f->place.address;
	else if (f->place.instance >= 0)
		return -ENOENT; /* nobody found it */
	else
		k->symbol_name = f->place.symbol;
	k->offset = f->offset;
	k->flags = 0;
	if (returns) {
		f->exit.handler = stap_function_left;
		f->exit.maxactive = f->maxactive ? f->maxactive :
					max_t(int, 15, 6 * num_possible_cpus());
		return register_kretprobe(&f->exit);
	}
	k->pre_handler = stap_function_entered;
	error = register_kprobe(k);
	f->shown = stap_function_place(f);
	return error;
}

/* Whether a function is in a module of the kernel. */
static bool stap_function_in(const struct stap_function_probe *f, const char *module)
{
	size_t size = strlen(module);

	return f->place.symbol && !strncmp(f->place.symbol, module, size) &&
	       f->place.symbol[size] == ':';
}

/* The functions of a module that comes are probed then; those of one that goes no longer. */
static u64 __maybe_unused stap_functions_follow(struct stap_function_probe *functions, int count,
						bool returns, const char *module, bool comes)
{
	u64 missed = 0;
	int i, error;

	for (i = 0; i < count; i++) {
		struct stap_function_probe *f = &functions[i];

		if (f->started == comes || !stap_function_in(f, module))
			continue;
		if (comes) {
			error = stap_function_start(f, returns);
			f->started = !error;
			if (error)
				stap_probe_left_out(f->probe, error);
			continue;
		}
		f->started = false;
		if (returns)
			unregister_kretprobe(&f->exit);
		else
			unregister_kprobe(&f->entry);
		missed += returns ? f->exit.nmissed + f->exit.kp.nmissed : f->entry.nmissed;
		memset(&f->entry, 0, sizeof(f->entry));
		memset(&f->exit, 0, sizeof(f->exit));
	}
	return missed;
}

/* A function that cannot be probed is left out, and said so. */
static int __maybe_unused stap_functions_start(struct stap_function_probe *functions, int count,
					       bool returns)
{
	int i, error;

	for (i = 0; i < count; i++) {
		error = stap_function_start(&functions[i], returns);
		functions[i].started = !error;
		if (error && !(functions[i].later && error == -ENOENT))
			stap_probe_left_out(functions[i].probe, error);
	}
	return 0;
}

/* All at once, for each time the kernel waits for whoever runs there; false without memory. */
static bool stap_functions_remove(struct stap_function_probe *functions, int count, bool returns)
{
	void **started = kvmalloc_array(count, sizeof(*started), GFP_KERNEL);
	int i, found = 0;

	if (!started)
		return false;
	for (i = 0; i < count; i++)
		if (functions[i].started)
			started[found++] = returns ? (void *)&functions[i].exit :
						     (void *)&functions[i].entry;
	if (returns && found)
		unregister_kretprobes((struct kretprobe **)started, found);
	else if (found)
		unregister_kprobes((struct kprobe **)started, found);
	kvfree(started);
	return true;
}

/* How many hits the kernel could not give to a handler. */
static u64 __maybe_unused stap_functions_stop(struct stap_function_probe *functions, int count,
					      bool returns)
{
	bool removed = stap_functions_remove(functions, count, returns);
	u64 missed = 0;
	int i;

	for (i = 0; i < count; i++) {
		struct stap_function_probe *f = &functions[i];

		if (!f->started)
			continue;
		f->started = false;
		if (!removed && returns)
			unregister_kretprobe(&f->exit);
		else if (!removed)
			unregister_kprobe(&f->entry);
		missed += returns ? f->exit.nmissed + f->exit.kp.nmissed : f->entry.nmissed;
	}
	return missed;
}

#endif
