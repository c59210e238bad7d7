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

#define SUBBUFFER_SIZE (64 * 1024)

/* Records have gaps neither between nor within them. */
struct record {
	u32 size; /* of what follows */
	u8 kind; /* enum message */
	u8 more; /* the next record of this CPU goes on */
	u16 cpu;
	u64 serial; /* over all CPUs */
};

static struct rchan *channel;
static atomic64_t record_serial = ATOMIC64_INIT(0);
static atomic64_t records_lost = ATOMIC64_INIT(0);
static struct proc_dir_entry *proc_directory;
static struct proc_ops trace_operations;

static int subbuffer_start(struct rchan_buf *buffer, void *subbuffer, void *previous,
			   size_t padding)
{
	return !relay_buf_full(buffer);
}

/* The files are ours, not relay's; it takes any answer but NULL for "go on without one". */
static struct dentry no_dentry;

static struct dentry *no_file(const char *name, struct dentry *parent, umode_t mode,
			      struct rchan_buf *buffer, int *global)
{
	return &no_dentry;
}

static int remove_nothing(struct dentry *file)
{
	return 0;
}

static struct rchan_callbacks channel_callbacks = {
	.subbuf_start = subbuffer_start,
	.create_buf_file = no_file,
	.remove_buf_file = remove_nothing,
};

static void transport_message(enum message kind, const char *text, size_t size, bool more)
{
	struct record head = { size, kind, more, raw_smp_processor_id(), 0 };
	unsigned long flags;
	char *at;

	local_irq_save(flags);
	head.serial = atomic64_inc_return(&record_serial);
	at = relay_reserve(channel, sizeof(head) + size);
	if (at) {
		memcpy(at, &head, sizeof(head));
		memcpy(at + sizeof(head), text, size);
	}
	local_irq_restore(flags);
	if (!at)
		atomic64_add(1, &records_lost);
}

static int transport_create(const char *name, u32 megabytes)
{
	u32 count = megabytes * (1024 * 1024 / SUBBUFFER_SIZE);
	char file[24];
	int cpu;

	channel = relay_open(NULL, NULL, SUBBUFFER_SIZE, count, &channel_callbacks, NULL);
	if (!channel)
		return -ENOMEM;
	trace_operations.proc_open = relay_file_operations.open;
	trace_operations.proc_read = relay_file_operations.read;
	trace_operations.proc_poll = relay_file_operations.poll;
	trace_operations.proc_mmap = relay_file_operations.mmap;
	trace_operations.proc_release = relay_file_operations.release;
	proc_directory = proc_mkdir_mode(name, 0700, NULL);
	if (!proc_directory)
		return -ENOMEM;
	for_each_possible_cpu(cpu) {
		struct rchan_buf *buffer = *per_cpu_ptr(channel->buf, cpu);

		snprintf(file, sizeof(file), "trace%d", cpu);
		if (buffer &&
		    !proc_create_data(file, 0400, proc_directory, &trace_operations, buffer))
			return -ENOMEM;
	}
	return 0;
}

static void transport_destroy(void)
{
	if (proc_directory)
		proc_remove(proc_directory);
	if (channel)
		relay_close(channel);
}

#endif
