/* Output on its way to user space: a ring of records for each CPU, read through a file in /proc.
 *
 * /proc/pystap_MODULE/trace0 ... give whole records; "control" takes the words of the session's
 * process and tells how the session stands.  A ring that is full takes no more; while nobody is
 * attached to the session, old records give way instead. */
#ifndef PYSTAP_TRANSPORT_H
#define PYSTAP_TRANSPORT_H

#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>

#include "session.h"

#define STAP_READ_SIZE (128 * 1024) /* bytes that one read gives at most; more than any record */
#define STAP_MOST_MEGABYTES 16 /* of a ring, when nothing is said */

/* Records have gaps neither between nor within them. */
struct stap_record {
	u32 size; /* of what follows */
	u8 kind; /* enum message */
	u8 more; /* the next record of this CPU goes on */
	u16 cpu;
	u64 serial; /* over all CPUs */
};

/* Written by its own CPU only, with interrupts off.  Read by one process; while nobody is attached,
 * the CPU moves the tail. */
struct stap_ring {
	char *bytes;
	u64 head, tail; /* bytes written and given away since the start */
	bool writing;
	bool cut; /* a part of a handler's output was lost: so is the rest */
};

static struct stap_ring *stap_rings; /* one for each CPU */
static u64 stap_ring_size; /* a power of two */
static char *stap_read_area;
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
	struct stap_record head = { .more = true };

	while (head.more && ring->tail != ring->head) {
		ring->tail += stap_ring_record(ring, ring->tail, &head);
		atomic64_inc(&stap_records_overwritten);
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
	end = stap_ring_put(ring, ring->head, head, sizeof(*head));
	smp_store_release(&ring->head, stap_ring_put(ring, end, text, head->size));
	return true;
}

static void stap_transport_message(enum stap_message kind, const char *text, size_t size, bool more)
{
	struct stap_record head = { size, kind, more, 0, 0 };
	struct stap_ring *ring;
	unsigned long flags;
	bool done = false;

	local_irq_save(flags);
	head.cpu = raw_smp_processor_id();
	ring = &stap_rings[head.cpu];
	if (!ring->writing) { /* a non-maskable interrupt may come upon it */
		WRITE_ONCE(ring->writing, true);
		barrier();
		done = !(ring->cut && kind == STAP_MESSAGE_OUTPUT) &&
		       stap_ring_add(ring, &head, text);
		if (kind == STAP_MESSAGE_OUTPUT)
			ring->cut = !done && more;
		barrier();
		WRITE_ONCE(ring->writing, false);
	}
	local_irq_restore(flags);
	if (!done)
		atomic64_inc(&stap_records_lost);
}

/* Take whole records out of a ring; their bytes. */
static u32 stap_ring_take(struct stap_ring *ring, char *to, u32 room)
{
	u64 head = smp_load_acquire(&ring->head), at;
	struct stap_record record;
	u32 size;

	for (at = ring->tail; at != head; at += size) {
		size = stap_ring_record(ring, at, &record);
		if (at + size - ring->tail > room)
			break;
	}
	size = at - ring->tail;
	stap_ring_get(ring, to, ring->tail, size);
	smp_store_release(&ring->tail, at);
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
	taken = stap_attached == current->tgid ?
			stap_ring_take(ring, stap_read_area, STAP_READ_SIZE) : -EBUSY;
	if (taken > 0 && copy_to_user(to, stap_read_area, taken))
		taken = -EFAULT;
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
	stap_read_area = vmalloc(STAP_READ_SIZE);
	stap_rings = kcalloc(nr_cpu_ids, sizeof(*stap_rings), GFP_KERNEL);
	if (!stap_read_area || !stap_rings)
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
	vfree(stap_read_area);
}

#endif
