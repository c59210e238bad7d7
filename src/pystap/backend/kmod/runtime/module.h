/* A session in the kernel: the module, its contexts, and the words that its process gives it. */
#ifndef PYSTAP_MODULE_H
#define PYSTAP_MODULE_H

#include "transport.h"
#include "kernel_functions.h"
#include "kernel_arguments.h"
#include "report.h"

static struct stap_context *stap_contexts[NR_CPUS];
static struct stap_context **stap_sleepers; /* contexts that may wait for memory */
static int stap_sleeper_count;
static DEFINE_MUTEX(stap_control_mutex);
static bool stap_probes_started;
static bool stap_session_over;
static u64 stap_probes_missed;
static u32 stap_unknown_objects; /* files without a table that stacks led through */

static unsigned int stap_megabytes = STAP_MEGABYTES; /* of a ring; 0: as the machine has memory */
module_param(stap_megabytes, uint, 0400);
static unsigned int stap_number; /* of the script, where a module holds several */
module_param(stap_number, uint, 0400);

static struct stap_context *stap_context_here(void)
{
	return stap_contexts[raw_smp_processor_id()];
}

static struct stap_context *stap_context_sleeper(void)
{
	int i;

	for (i = 0; i < stap_sleeper_count; i++)
		if (!atomic_cmpxchg(&stap_sleepers[i]->busy, 0, 1))
			return stap_sleepers[i];
	return NULL;
}

static void stap_context_put(struct stap_context *c)
{
	if (!c)
		return;
	stap_context_destroy(c);
	stap_memory_put(c);
}

static struct stap_context *stap_context_get(void)
{
	struct stap_context *c = stap_memory_get(sizeof(*c));

	if (c && stap_context_create(c)) {
		stap_context_put(c);
		return NULL;
	}
	return c;
}

static void stap_contexts_destroy(void)
{
	int cpu;

	for_each_possible_cpu(cpu) {
		stap_context_put(stap_contexts[cpu]);
		stap_contexts[cpu] = NULL;
	}
	while (stap_sleeper_count)
		stap_context_put(stap_sleepers[--stap_sleeper_count]);
	kfree(stap_sleepers);
}

static int stap_contexts_create(void)
{
	int cpu, wanted = stap_script->sleepers * num_possible_cpus();

	for_each_possible_cpu(cpu) {
		stap_contexts[cpu] = stap_context_get();
		if (!stap_contexts[cpu])
			return -ENOMEM;
	}
	stap_sleepers = kcalloc(wanted + 1, sizeof(*stap_sleepers), GFP_KERNEL);
	if (!stap_sleepers)
		return -ENOMEM;
	while (stap_sleeper_count < wanted) {
		stap_sleepers[stap_sleeper_count] = stap_context_get();
		if (!stap_sleepers[stap_sleeper_count])
			return -ENOMEM;
		stap_sleeper_count++;
	}
	return 0;
}

static void stap_probes_stop(void)
{
	if (!stap_probes_started)
		return;
	stap_script->stop();
	stap_probes_started = false;
}

/* The session begins: begin probes, then all the others are registered. */
static int stap_session_start(void)
{
	int error = stap_symbols_start();

	if (error) {
		stap_session_exit();
		stap_session_over = true; /* which has not begun */
		return error;
	}
	preempt_disable();
	stap_session_probes(STAP_INIT, STAP_STARTING);
	stap_session_probes(STAP_BEGIN, STAP_STARTING);
	preempt_enable();
	if (atomic_read(&stap_session_phase) == STAP_STARTING) {
		stap_probes_started = true;
		stap_start_time = stap_clock();
		error = stap_script->start();
		stap_start_time = stap_clock() - stap_start_time;
		if (error)
			stap_session_exit();
		else
			atomic_cmpxchg(&stap_session_phase, STAP_STARTING, STAP_RUNNING);
	}
	return error;
}

/* The session ends: no more hits, then end or error probes. */
static void stap_session_stop(void)
{
	if (stap_session_over)
		return;
	stap_session_over = true;
	stap_session_exit();
	stap_probes_stop();
	preempt_disable();
	if (atomic_read(&stap_session_phase) != STAP_FAILED)
		stap_session_probes(STAP_END, STAP_STOPPING);
	if (atomic_read(&stap_session_phase) == STAP_FAILED)
		stap_session_probes(STAP_ERROR, STAP_FAILED);
	preempt_enable();
}

/* One word of the session's process: "attach", "detach", "target N", "held N", "pid N", "west N",
 * "zone NAME", "start", "stop". */
static ssize_t stap_control_write(struct file *file, const char __user *from, size_t size, loff_t *at)
{
	char word[96];
	int error = 0;

	if (size >= sizeof(word))
		return -EINVAL;
	if (copy_from_user(word, from, size))
		return -EFAULT;
	word[size] = 0;
	mutex_lock(&stap_control_mutex);
	if (!strcmp(word, "attach"))
		error = stap_transport_attach(file);
	else if (!strcmp(word, "detach"))
		stap_transport_detach();
	else if (!strcmp(word, "start"))
		error = stap_session_start();
	else if (!strcmp(word, "stop"))
		stap_session_stop();
	else if (!strncmp(word, "zone ", 5))
		strscpy(stap_zone_name, word + 5, sizeof(stap_zone_name));
	else if (sscanf(word, "target %d", &stap_target_pid) != 1 &&
		 sscanf(word, "pid %d", &stap_stp_pid) != 1 &&
		 sscanf(word, "held %d", &stap_target_held) != 1 &&
		 sscanf(word, "west %d", &stap_zone_west) != 1 &&
		 !stap_place_told(word))
		error = -EINVAL;
	mutex_unlock(&stap_control_mutex);
	return error ? error : size;
}

/* How the session stands, a word and a number a line. */
static int stap_control_show(struct seq_file *file, void *data)
{
	seq_printf(file, "phase %d\n", atomic_read(&stap_session_phase));
	seq_printf(file, "errors %d\n", atomic_read(&stap_session_errors));
	seq_printf(file, "suppressed %d\n", atomic_read(&stap_session_suppressed));
	seq_printf(file, "skipped %d\n", atomic_read(&stap_session_skipped));
	seq_printf(file, "lost %lld\n", atomic64_read(&stap_records_lost));
	seq_printf(file, "overwritten %lld\n", atomic64_read(&stap_records_overwritten));
	seq_printf(file, "missed %llu\n", stap_probes_missed);
	seq_printf(file, "unknown %u\n", READ_ONCE(stap_unknown_objects));
	stap_places_ask(file);
	seq_printf(file, "reason %d\n", stap_failed_reason);
	seq_printf(file, "attached %d\n", stap_attached);
	seq_printf(file, "megabytes %llu\n", stap_ring_size >> 20);
	seq_printf(file, "bulk %d\n", STAP_BULK);
	seq_printf(file, "lacks %s\n", stap_lacked_symbol ? stap_lacked_symbol : "");
	seq_printf(file, "failed %s\n", stap_failed_probe ? stap_failed_probe : "");
	return 0;
}

static int stap_control_open(struct inode *inode, struct file *file)
{
	return single_open(file, stap_control_show, NULL);
}

/* A process that goes without a word takes the session with it. */
static int stap_control_release(struct inode *inode, struct file *file)
{
	mutex_lock(&stap_control_mutex);
	if (file == stap_attached_by) {
		stap_session_stop();
		stap_transport_detach();
	}
	mutex_unlock(&stap_control_mutex);
	return single_release(inode, file);
}

static const struct proc_ops stap_control_operations = {
	.proc_open = stap_control_open,
	.proc_read = seq_read,
	.proc_lseek = seq_lseek,
	.proc_write = stap_control_write,
	.proc_release = stap_control_release,
};

static void stap_module_undo(void)
{
	stap_probes_stop();
	stap_symbols_stop();
	stap_transport_destroy();
	if (stap_script->objects)
		stap_script->objects->destroy();
	stap_hits_destroy();
	stap_script->destroy();
	stap_contexts_destroy();
	vfree(stap_process_states);
}

static int __init stap_module_begin(void)
{
	char name[MODULE_NAME_LEN + 8];
	int error;

	snprintf(name, sizeof(name), "pystap_%s", THIS_MODULE->name);
	error = stap_contexts_create();
	if (!error)
		error = stap_script->create();
	if (!error)
		error = stap_transport_create(name, stap_megabytes);
	if (!error && !proc_create("control", 0600, stap_proc_directory, &stap_control_operations))
		error = -ENOMEM;
	if (!error)
		error = stap_report_create();
	if (!error && stap_script->objects)
		error = stap_script->objects->create(stap_proc_directory);
	if (error)
		stap_module_undo();
	return error == -ENOMEM ? stap_memory_error : error;
}

static void __exit stap_module_end(void)
{
	stap_session_exit();
	stap_module_undo();
}

#define STAP_MODULE \
	static int __init stap_module_init(void) \
	{ \
		if (stap_number >= ARRAY_SIZE(stap_scripts)) \
			return -EINVAL; \
		stap_script = stap_scripts[stap_number]; \
		return stap_module_begin(); \
	} \
	module_init(stap_module_init); \
	module_exit(stap_module_end); \
	MODULE_LICENSE("GPL"); \
	MODULE_INFO(pystap, "1"); \
	MODULE_DESCRIPTION("a script translated by pystap");

#endif
