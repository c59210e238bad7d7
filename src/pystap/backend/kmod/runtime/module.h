/* A session in the kernel: the module, its contexts, and the words that its process gives it. */
#ifndef PYSTAP_MODULE_H
#define PYSTAP_MODULE_H

#include "transport.h"
#include "kernel_probes.h"

static struct context *contexts[NR_CPUS];
static DEFINE_MUTEX(control_mutex);
static bool probes_started;
static u64 probes_missed;
static unsigned int buffer_megabytes = 1;
module_param(buffer_megabytes, uint, 0400);

static int storage_create(void);
static void storage_destroy(void);
static int probes_start(void);
static void probes_stop(void);
static void run_session_probes(int kind);

static struct context *context_here(void)
{
	return contexts[raw_smp_processor_id()];
}

static void contexts_destroy(void)
{
	int cpu;

	for_each_possible_cpu(cpu) {
		if (!contexts[cpu])
			continue;
		context_destroy(contexts[cpu]);
		vfree(contexts[cpu]);
		contexts[cpu] = NULL;
	}
}

static int contexts_create(void)
{
	int cpu;

	for_each_possible_cpu(cpu) {
		contexts[cpu] = vzalloc(sizeof(struct context));
		if (!contexts[cpu] || context_create(contexts[cpu]))
			return -ENOMEM;
	}
	return 0;
}

/* The session begins: begin probes, then all the others are registered. */
static int session_start(void)
{
	int error = 0;

	preempt_disable();
	run_session_probes(0);
	run_session_probes(1);
	preempt_enable();
	if (atomic_read(&session_phase) == STARTING) {
		probes_started = true;
		error = probes_start();
		if (error)
			session_exit();
		else
			atomic_cmpxchg(&session_phase, STARTING, RUNNING);
	}
	return error;
}

/* The session ends: no more hits, then end or error probes. */
static void session_stop(void)
{
	session_exit();
	if (probes_started) {
		probes_stop();
		probes_started = false;
	}
	preempt_disable();
	if (atomic_read(&session_phase) != FAILED)
		run_session_probes(2);
	if (atomic_read(&session_phase) == FAILED)
		run_session_probes(3);
	preempt_enable();
	relay_flush(channel);
}

/* One word of the session's process: "target N", "pid N", "west N", "zone NAME", "start", "stop". */
static ssize_t control_write(struct file *file, const char __user *from, size_t size, loff_t *at)
{
	char word[96];
	int error = 0;

	if (size >= sizeof(word))
		return -EINVAL;
	if (copy_from_user(word, from, size))
		return -EFAULT;
	word[size] = 0;
	mutex_lock(&control_mutex);
	if (!strcmp(word, "start"))
		error = session_start();
	else if (!strcmp(word, "stop"))
		session_stop();
	else if (!strncmp(word, "zone ", 5))
		strscpy(zone_name, word + 5, sizeof(zone_name));
	else if (sscanf(word, "target %d", &target_pid) != 1 &&
		 sscanf(word, "pid %d", &stp_pid) != 1 &&
		 sscanf(word, "west %d", &zone_west) != 1)
		error = -EINVAL;
	mutex_unlock(&control_mutex);
	return error ? error : size;
}

/* How the session stands, a word and a number a line. */
static int control_show(struct seq_file *file, void *data)
{
	seq_printf(file, "phase %d\n", atomic_read(&session_phase));
	seq_printf(file, "errors %d\n", atomic_read(&session_errors));
	seq_printf(file, "suppressed %d\n", atomic_read(&session_suppressed));
	seq_printf(file, "skipped %d\n", atomic_read(&session_skipped));
	seq_printf(file, "lost %lld\n", atomic64_read(&records_lost));
	seq_printf(file, "missed %llu\n", probes_missed);
	seq_printf(file, "reason %d\n", failed_reason);
	seq_printf(file, "failed %s\n", failed_probe ? failed_probe : "");
	return 0;
}

static int control_open(struct inode *inode, struct file *file)
{
	return single_open(file, control_show, NULL);
}

static const struct proc_ops control_operations = {
	.proc_open = control_open,
	.proc_read = seq_read,
	.proc_lseek = seq_lseek,
	.proc_write = control_write,
	.proc_release = single_release,
};

static void module_undo(void)
{
	if (probes_started)
		probes_stop();
	transport_destroy();
	storage_destroy();
	contexts_destroy();
}

static int __init module_begin(void)
{
	char name[MODULE_NAME_LEN + 8];
	int error;

	snprintf(name, sizeof(name), "pystap_%s", THIS_MODULE->name);
	error = contexts_create();
	if (!error)
		error = storage_create();
	if (!error)
		error = transport_create(name, buffer_megabytes);
	if (!error && !proc_create("control", 0600, proc_directory, &control_operations))
		error = -ENOMEM;
	if (error)
		module_undo();
	return error;
}

static void __exit module_end(void)
{
	session_exit();
	module_undo();
}

#define PYSTAP_SESSION \
	static void run_session_probes(int kind) \
	{ \
		switch (kind) { \
		case 0: session_probes(init_probes, init_count, STARTING); break; \
		case 1: session_probes(begin_probes, begin_count, STARTING); break; \
		case 2: session_probes(end_probes, end_count, STOPPING); break; \
		case 3: session_probes(error_probes, error_count, FAILED); break; \
		} \
	} \
	module_init(module_begin); \
	module_exit(module_end); \
	MODULE_LICENSE("GPL"); \
	MODULE_DESCRIPTION("a script translated by pystap");

#endif
