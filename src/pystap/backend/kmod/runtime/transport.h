/* Output on its way to user space: a ring of records for each CPU, read through a file in /proc.
 *
 * /proc/pystap_MODULE/trace0 ... give whole records; "control" takes the words of the session's
 * process and tells how the session stands.  A ring that is full takes no more; while nobody is
 * attached to the session, old records give way instead.
 *
 * What a handler prints joins the record of the one before it, as long as no other CPU has printed
 * anything in between and nobody has begun to read that record: so short lines do not cost a
 * record each, on the way out or in user space. */
#ifndef PYSTAP_TRANSPORT_H
#define PYSTAP_TRANSPORT_H

#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>

#include "session.h"

#define STAP_READ_SIZE (128 * 1024) /* bytes to read at least; more than any record */
#define STAP_MOST_MEGABYTES 16 /* of a ring, when nothing is said */

/* Records have gaps neither between nor within them. */
struct stap_record {
	u32 size; /* of what follows */
	u8 kind; /* enum message, with RECORD_MORE */
	u8 outputs; /* of handlers that are in it */
	u16 cpu;
	u64 serial; /* over all CPUs */
};

#define STAP_RECORD_MORE 0x80 /* the next record of this CPU goes on */

/* Written by its own CPU only, with interrupts off.  Read by one process; while nobody is attached,
 * the CPU moves the tail.  Places are bytes since the start. */
struct stap_ring {
	char *bytes;
	u64 head, tail; /* of what was written and not given away yet */
	u64 newest; /* where the newest record begins */
	struct stap_record newest_head;
	u64 closed; /* records that begin before stay as they are: the reader's */
	bool writing;
	bool cut; /* a part of a handler's output was lost: so is the rest */
};

static struct stap_ring *stap_rings; /* one for each CPU */
static u64 stap_ring_size; /* a power of two */
static DEFINE_MUTEX(stap_read_mutex);
static atomic64_t stap_record_serial = ATOMIC64_INIT(0);
static atomic64_t stap_records_lost = ATOMIC64_INIT(0);
static atomic64_t stap_records_overwritten = ATOMIC64_INIT(0);
static int stap_attached; /* the process that reads; 0: none */
static struct file *stap_attached_by; /* its control file */
static struct proc_dir_entry *stap_proc_directory;

static u64 stap_ring_put(struct stap_ring *ring, u64 to, const void *from, u32 size)
{
	u32 at = to & (stap_ring_size - 1);
	u32 first = min_t(u64, size, stap_ring_size - at);

	memcpy(ring->bytes + at, from, first);
	memcpy(ring->bytes, from + first, size - first);
	return to + size;
}

static void stap_ring_get(const struct stap_ring *ring, void *to, u64 from, u32 size)
{
	u32 at = from & (stap_ring_size - 1);
	u32 first = min_t(u64, size, stap_ring_size - at);

	memcpy(to, ring->bytes + at, first);
	memcpy(to + first, ring->bytes, size - first);
}

/* The head of the record at a place; its bytes. */
static u32 stap_ring_record(const struct stap_ring *ring, u64 at, struct stap_record *head)
{
	stap_ring_get(ring, head, at, sizeof(*head));
	return sizeof(*head) + head->size;
}

/* The oldest gives way: a record with those that go on with it. */
static void stap_ring_drop(struct stap_ring *ring)
{
	struct stap_record head = { .kind = STAP_RECORD_MORE };

	while (head.kind & STAP_RECORD_MORE && ring->tail != ring->head) {
		ring->tail += stap_ring_record(ring, ring->tail, &head);
		atomic64_add(head.outputs, &stap_records_overwritten);
	}
}

/* Whether there is room, which old records make way for while nobody reads them. */
static bool stap_ring_reserve(struct stap_ring *ring, u32 size)
{
	while (stap_ring_size - (ring->head - smp_load_acquire(&ring->tail)) < size) {
		if (READ_ONCE(stap_attached))
			return false;
		stap_ring_drop(ring);
	}
	return true;
}

static bool stap_ring_add(struct stap_ring *ring, struct stap_record *head, const char *text)
{
	u64 end;

	if (!stap_ring_reserve(ring, sizeof(*head) + head->size))
		return false;
	head->serial = atomic64_inc_return(&stap_record_serial);
	ring->newest = ring->head;
	ring->newest_head = *head;
	end = stap_ring_put(ring, ring->head, head, sizeof(*head));
	smp_store_release(&ring->head, stap_ring_put(ring, end, text, head->size));
	return true;
}

/* Add to the newest record what may be a part of it; whether it is. */
static bool stap_ring_join(struct stap_ring *ring, const struct stap_record *head, const char *text)
{
	struct stap_record *newest = &ring->newest_head;

	if (STAP_BULK || head->kind != STAP_MESSAGE_OUTPUT || newest->kind != STAP_MESSAGE_OUTPUT ||
	    newest->serial != atomic64_read(&stap_record_serial) ||
	    newest->outputs == 0 || newest->outputs == U8_MAX || newest->size + head->size > STAP_OUTPUT_SIZE ||
	    READ_ONCE(ring->closed) > ring->newest ||
	    stap_ring_size - (ring->head - smp_load_acquire(&ring->tail)) < head->size)
		return false;
	newest->size += head->size;
	newest->outputs++;
	stap_ring_put(ring, ring->newest, newest, sizeof(*newest));
	smp_store_release(&ring->head, stap_ring_put(ring, ring->head, text, head->size));
	return true;
}

static void stap_transport_message(enum stap_message kind, const char *text, size_t size, bool more)
{
	struct stap_record head = { size, more ? kind | STAP_RECORD_MORE : kind, 1, 0, 0 };
	struct stap_ring *ring;
	unsigned long flags;
	bool done = false;

	local_irq_save(flags);
	head.cpu = raw_smp_processor_id();
	ring = &stap_rings[head.cpu];
	if (!ring->writing) { /* a non-maskable interrupt may come upon it */
		WRITE_ONCE(ring->writing, true);
		smp_mb(); /* before `closed` is looked at, see stap_ring_close() */
		done = !(ring->cut && kind == STAP_MESSAGE_OUTPUT) &&
		       (stap_ring_join(ring, &head, text) || stap_ring_add(ring, &head, text));
		if (kind == STAP_MESSAGE_OUTPUT)
			ring->cut = !done && more;
		smp_store_release(&ring->writing, false);
	}
	local_irq_restore(flags);
	if (!done)
		atomic64_inc(&stap_records_lost);
}

/* Nothing joins the records that are in a ring now, the last of which may grow until then. */
static void stap_ring_close(struct stap_ring *ring)
{
	WRITE_ONCE(ring->closed, smp_load_acquire(&ring->head));
	smp_mb(); /* who writes from now on sees it */
	while (smp_load_acquire(&ring->writing))
		cpu_relax();
}

/* Give whole records to the reader; their bytes. */
static ssize_t stap_ring_take(struct stap_ring *ring, char __user *to, size_t room)
{
	struct stap_record record;
	u32 size, at, first;
	u64 end;

	stap_ring_close(ring);
	for (end = ring->tail; end < ring->closed; end += size) {
		size = stap_ring_record(ring, end, &record);
		if (end + size - ring->tail > room)
			break;
	}
	size = end - ring->tail;
	at = ring->tail & (stap_ring_size - 1);
	first = min_t(u64, size, stap_ring_size - at);
	if (copy_to_user(to, ring->bytes + at, first) ||
	    copy_to_user(to + first, ring->bytes, size - first))
		return -EFAULT;
	smp_store_release(&ring->tail, end);
	return size;
}

/* The current process begins to read, and the CPUs leave the tails to it. */
static int stap_transport_attach(struct file *control)
{
	int error = 0;

	mutex_lock(&stap_read_mutex);
	if (stap_attached) {
		error = -EBUSY;
	} else {
		__module_get(THIS_MODULE); /* which the caller is running in */
		stap_attached_by = control;
		WRITE_ONCE(stap_attached, current->tgid);
	}
	mutex_unlock(&stap_read_mutex);
	if (!error)
		synchronize_rcu(); /* since then nobody with interrupts off has seen it otherwise */
	return error;
}

static void stap_transport_detach(void)
{
	mutex_lock(&stap_read_mutex);
	if (stap_attached)
		module_put(THIS_MODULE);
	stap_attached_by = NULL;
	WRITE_ONCE(stap_attached, 0);
	mutex_unlock(&stap_read_mutex);
}

static ssize_t stap_trace_read(struct file *file, char __user *to, size_t size, loff_t *at)
{
	struct stap_ring *ring = pde_data(file_inode(file));
	ssize_t taken;

	if (size < STAP_READ_SIZE)
		return -EINVAL;
	mutex_lock(&stap_read_mutex);
	taken = stap_attached == current->tgid ? stap_ring_take(ring, to, size) : -EBUSY;
	mutex_unlock(&stap_read_mutex);
	return taken;
}

static const struct proc_ops stap_trace_operations = {
	.proc_read = stap_trace_read,
	.proc_lseek = noop_llseek,
};

/* The megabytes of a ring when nothing is said: less on small machines. */
static u32 stap_ring_megabytes(void)
{
	u64 share = ((u64)totalram_pages() << PAGE_SHIFT >> 20) / 64 / num_possible_cpus();

	return clamp_t(u64, share, 1, STAP_MOST_MEGABYTES);
}

static int stap_rings_create(u32 megabytes)
{
	int cpu;

	stap_ring_size = (u64)roundup_pow_of_two(megabytes) << 20;
	stap_rings = kcalloc(nr_cpu_ids, sizeof(*stap_rings), GFP_KERNEL);
	if (!stap_rings)
		return -ENOMEM;
	for_each_possible_cpu(cpu) {
		stap_rings[cpu].bytes = stap_memory_get_near(stap_ring_size, cpu);
		if (!stap_rings[cpu].bytes)
			return -ENOMEM;
	}
	return 0;
}

static int stap_transport_create(const char *name, u32 megabytes)
{
	int cpu, error = stap_rings_create(megabytes ? megabytes : stap_ring_megabytes());
	char file[24];

	if (error)
		return error;
	stap_proc_directory = proc_mkdir_mode(name, 0700, NULL);
	if (!stap_proc_directory)
		return -ENOMEM;
	for_each_possible_cpu(cpu) {
		snprintf(file, sizeof(file), "trace%d", cpu);
		if (!proc_create_data(file, 0400, stap_proc_directory, &stap_trace_operations,
				      &stap_rings[cpu]))
			return -ENOMEM;
	}
	return 0;
}

static void stap_transport_destroy(void)
{
	int cpu;

	if (stap_proc_directory)
		proc_remove(stap_proc_directory);
	for_each_possible_cpu(cpu)
		if (stap_rings)
			vfree(stap_rings[cpu].bytes);
	kfree(stap_rings);
}

#endif
