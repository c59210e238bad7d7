/* Output on its way to user space: relay channels with files in /proc, one for each CPU.
 *
 * /proc/pystap/MODULE/trace0 ... hold records; "control" takes the words of the session's process
 * and tells how the session stands. */
#ifndef PYSTAP_TRANSPORT_H
#define PYSTAP_TRANSPORT_H

#include <linux/proc_fs.h>
#include <linux/relay.h>
#include <linux/seq_file.h>

#include "session.h"

#define STAP_SUBBUFFER_SIZE (64 * 1024)

/* Records have gaps neither between nor within them. */
struct stap_record {
	u32 size; /* of what follows */
	u8 kind; /* enum message */
	u8 more; /* the next record of this CPU goes on */
	u16 cpu;
	u64 serial; /* over all CPUs */
};

static struct rchan *stap_channel;
static atomic64_t stap_record_serial = ATOMIC64_INIT(0);
static atomic64_t stap_records_lost = ATOMIC64_INIT(0);
static struct proc_dir_entry *stap_proc_directory;
static struct proc_ops stap_trace_operations;

static int stap_subbuffer_start(struct rchan_buf *buffer, void *subbuffer, void *previous,
			   size_t padding)
{
	return !relay_buf_full(buffer);
}

/* The files are ours, not relay's; it takes any answer but NULL for "go on without one". */
static struct dentry stap_no_dentry;

static struct dentry *stap_no_file(const char *name, struct dentry *parent, umode_t mode,
			      struct rchan_buf *buffer, int *global)
{
	return &stap_no_dentry;
}

static int stap_remove_nothing(struct dentry *file)
{
	return 0;
}

static struct rchan_callbacks stap_channel_callbacks = {
	.subbuf_start = stap_subbuffer_start,
	.create_buf_file = stap_no_file,
	.remove_buf_file = stap_remove_nothing,
};

static void stap_transport_message(enum stap_message kind, const char *text, size_t size, bool more)
{
	struct stap_record head = { size, kind, more, raw_smp_processor_id(), 0 };
	unsigned long flags;
	char *at;

	local_irq_save(flags);
	head.serial = atomic64_inc_return(&stap_record_serial);
	at = relay_reserve(stap_channel, sizeof(head) + size);
	if (at) {
		memcpy(at, &head, sizeof(head));
		memcpy(at + sizeof(head), text, size);
	}
	local_irq_restore(flags);
	if (!at)
		atomic64_add(1, &stap_records_lost);
}

static int stap_transport_create(const char *name, u32 megabytes)
{
	u32 count = megabytes * (1024 * 1024 / STAP_SUBBUFFER_SIZE);
	char file[24];
	int cpu;

	stap_channel = relay_open(NULL, NULL, STAP_SUBBUFFER_SIZE, count, &stap_channel_callbacks, NULL);
	if (!stap_channel)
		return -ENOMEM;
	stap_trace_operations.proc_open = relay_file_operations.open;
	stap_trace_operations.proc_read = relay_file_operations.read;
	stap_trace_operations.proc_poll = relay_file_operations.poll;
	stap_trace_operations.proc_mmap = relay_file_operations.mmap;
	stap_trace_operations.proc_release = relay_file_operations.release;
	stap_proc_directory = proc_mkdir_mode(name, 0700, NULL);
	if (!stap_proc_directory)
		return -ENOMEM;
	for_each_possible_cpu(cpu) {
		struct rchan_buf *buffer = *per_cpu_ptr(stap_channel->buf, cpu);

		snprintf(file, sizeof(file), "trace%d", cpu);
		if (buffer &&
		    !proc_create_data(file, 0400, stap_proc_directory, &stap_trace_operations, buffer))
			return -ENOMEM;
	}
	return 0;
}

static void stap_transport_destroy(void)
{
	if (stap_proc_directory)
		proc_remove(stap_proc_directory);
	if (stap_channel)
		relay_close(stap_channel);
}

#endif
