/* Tables of programs and libraries, and the file /proc/pystap_MODULE/objects.
 *
 * What a table holds is told by pystap/debuginfo/objecttable.py.  The session's process makes
 * them and enters them by ioctl(2), at the start or later: they are found by inode and device,
 * and stay until the module goes.  Reading the file gives what tables are wanted of ("stacks N",
 * "places N", "libraries N", "probed PATH", "named PATH"), and the files without one that a
 * stack led through: "unknown INODE DEVICE PID ADDRESS NAME". */
#ifndef PYSTAP_KERNEL_OBJECTS_H
#define PYSTAP_KERNEL_OBJECTS_H

#include <linux/ioctl.h>

#include "kernel_mappings.h"
#include "memory.h"

struct stap_object_head {
	u32 rows, row_count, symbols, symbol_count, places, place_count, calls, call_count;
	u32 names, path, size, filler;
	s64 delta;
	u64 more_filler;
};

struct stap_unwind_row {
	u32 start;
	s32 offset;
	u8 kind;
	s8 saved[6];
	u8 filler;
};

union stap_element {
	u32 word[4];
	struct stap_unwind_row row;
};

struct stap_object {
	struct stap_object *next;
	u64 inode, device;
	u32 name_size; /* bytes of all names */
	const struct stap_object_head *head;
	const char *names;
	union stap_element elements[];
};

struct stap_note {
	u64 inode, device, address;
	int pid;
	char name[48];
};

/* What ioctl(2) takes. */
struct stap_identity {
	u64 address, inode, device;
};
struct stap_entry {
	u64 inode, device, address, size;
};
#define STAP_OBJECT_IDENTIFY _IO('S', 1)
#define STAP_OBJECT_ENTER _IO('S', 2)

#define STAP_OBJECT_BUCKETS 256
#define STAP_MOST_OBJECTS 4096
#define STAP_MOST_OBJECT_BYTES (1u << 30)
#define STAP_MOST_NOTES 1024

static struct stap_object *stap_objects[STAP_OBJECT_BUCKETS];
static u32 stap_object_count;
static struct stap_note *stap_notes;
static raw_spinlock_t stap_note_lock = __RAW_SPIN_LOCK_UNLOCKED(stap_note_lock);

static u32 stap_object_bucket(u64 inode, u64 device)
{
	return (inode ^ inode >> 8 ^ device) % STAP_OBJECT_BUCKETS;
}

/* The table of a file; NULL when there is none. */
static const struct stap_object *stap_object_of(u64 inode, u64 device)
{
	const struct stap_object *o =
		smp_load_acquire(&stap_objects[stap_object_bucket(inode, device)]);

	while (o && (o->inode != inode || o->device != device))
		o = o->next;
	return o;
}

/* The last of so many elements that begins at or before an offset; NULL when there is none. */
static const union stap_element *stap_object_search(const struct stap_object *o, u32 first,
						    u32 count, u64 offset)
{
	u32 low = 0, high = count;

	while (low < high) {
		u32 middle = low + (high - low) / 2;

		if (o->elements[first + middle].word[0] <= offset)
			low = middle + 1;
		else
			high = middle;
	}
	return low ? &o->elements[first + low - 1] : NULL;
}

static const char *stap_object_name(const struct stap_object *o, u32 place)
{
	return place < o->name_size ? o->names + place : NULL;
}

static bool stap_is_noted(u32 from, u32 count, u64 inode, u64 device)
{
	u32 i;

	for (i = from; i < count; i++)
		if (stap_notes[i].inode == inode && stap_notes[i].device == device)
			return true;
	return false;
}

/* Note that a file has no table, once for each.  While another CPU does so it is left for the
 * next time. */
static void stap_note_unknown(const struct stap_mapping *m, u64 address)
{
	u32 before = smp_load_acquire(&stap_unknown_objects), count;
	struct stap_note *note;
	unsigned long flags;

	if (m->inode <= STAP_VDSO_INODE || stap_is_noted(0, before, m->inode, m->device))
		return;
	if (!raw_spin_trylock_irqsave(&stap_note_lock, flags))
		return;
	count = stap_unknown_objects;
	if (count < STAP_MOST_NOTES && !stap_is_noted(before, count, m->inode, m->device)) {
		const char *name = stap_mapping_name(m);

		note = &stap_notes[count];
		note->inode = m->inode;
		note->device = m->device;
		note->address = address;
		note->pid = current->tgid;
		if (name && !stap_read_string(note->name, sizeof(note->name), (u64)name,
					      sizeof(note->name), false))
			*note->name = 0;
		smp_store_release(&stap_unknown_objects, count + 1);
	}
	raw_spin_unlock_irqrestore(&stap_note_lock, flags);
}

/* ---- the file ---- */

/* Whether all that a table refers to is within. */
static bool stap_object_is_sound(struct stap_object *o, u64 size)
{
	const struct stap_object_head *h = (const void *)o->elements;
	u64 count = size / sizeof(*o->elements);

	if (size < sizeof(*h) || size % sizeof(*o->elements) || h->names >= count ||
	    (u64)h->rows + h->row_count > count || (u64)h->symbols + h->symbol_count > count ||
	    (u64)h->places + h->place_count > count ||
	    (u64)h->calls + 2ull * h->call_count > count)
		return false;
	o->head = h;
	o->names = (const char *)&o->elements[h->names];
	o->name_size = size - h->names * sizeof(*o->elements);
	return !o->names[o->name_size - 1];
}

static long stap_object_enter(const struct stap_entry *entry)
{
	struct stap_object **bucket =
		&stap_objects[stap_object_bucket(entry->inode, entry->device)];
	struct stap_object *o;

	if (stap_object_of(entry->inode, entry->device))
		return -EEXIST;
	if (entry->size > STAP_MOST_OBJECT_BYTES || stap_object_count >= STAP_MOST_OBJECTS)
		return -ENOSPC;
	o = stap_memory_get(sizeof(*o) + entry->size);
	if (!o)
		return stap_memory_error;
	o->inode = entry->inode;
	o->device = entry->device;
	if (copy_from_user(o->elements, (const void __user *)entry->address, entry->size) ||
	    !stap_object_is_sound(o, entry->size)) {
		stap_memory_put(o);
		return -EINVAL;
	}
	o->next = *bucket;
	smp_store_release(bucket, o);
	stap_object_count++;
	return 0;
}

static long stap_objects_control(struct file *file, unsigned int order, unsigned long argument)
{
	void __user *at = (void __user *)argument;
	struct stap_mapping m;
	struct stap_identity identity;
	struct stap_entry entry;
	long error;

	switch (order) {
	case STAP_OBJECT_IDENTIFY:
		if (copy_from_user(&identity, at, sizeof(identity)))
			return -EFAULT;
		if (!stap_mapping_find(&m, identity.address) || !m.inode)
			return -ENOENT;
		identity.inode = m.inode;
		identity.device = m.device;
		return copy_to_user(at, &identity, sizeof(identity)) ? -EFAULT : 0;
	case STAP_OBJECT_ENTER:
		if (copy_from_user(&entry, at, sizeof(entry)))
			return -EFAULT;
		mutex_lock(&stap_control_mutex);
		error = stap_object_enter(&entry);
		mutex_unlock(&stap_control_mutex);
		return error;
	}
	return -ENOTTY;
}

static void stap_objects_show_name(struct seq_file *file, const char *before, const char *name)
{
	seq_puts(file, before);
	seq_escape(file, name, "\n\\");
	seq_putc(file, '\n');
}

static int stap_objects_show(struct seq_file *file, void *data)
{
	const struct stap_wanted_objects *wanted = stap_script->objects;
	u32 i, count = smp_load_acquire(&stap_unknown_objects);

	seq_printf(file, "stacks %d\nplaces %d\nlibraries %d\n", wanted->stacks, wanted->places,
		   wanted->libraries);
	for (i = 0; wanted->probed[i]; i++)
		stap_objects_show_name(file, "probed ", wanted->probed[i]);
	for (i = 0; wanted->named[i]; i++)
		stap_objects_show_name(file, "named ", wanted->named[i]);
	for (i = 0; i < count; i++) {
		const struct stap_note *n = &stap_notes[i];

		if (stap_object_of(n->inode, n->device))
			continue;
		seq_printf(file, "unknown %llu %llu %d %llu ", n->inode, n->device, n->pid,
			   n->address);
		stap_objects_show_name(file, "", n->name);
	}
	return 0;
}

static int stap_objects_open(struct inode *inode, struct file *file)
{
	return single_open(file, stap_objects_show, NULL);
}

static const struct proc_ops stap_objects_operations = {
	.proc_open = stap_objects_open,
	.proc_read = seq_read,
	.proc_lseek = seq_lseek,
	.proc_ioctl = stap_objects_control,
	.proc_release = single_release,
};

static int stap_objects_create(struct proc_dir_entry *directory)
{
	stap_notes = stap_memory_get(STAP_MOST_NOTES * sizeof(*stap_notes));
	if (!stap_notes ||
	    !proc_create("objects", 0600, directory, &stap_objects_operations))
		return -ENOMEM;
	return 0;
}

static void stap_objects_destroy(void)
{
	u32 i;

	for (i = 0; i < STAP_OBJECT_BUCKETS; i++)
		while (stap_objects[i]) {
			struct stap_object *o = stap_objects[i];

			stap_objects[i] = o->next;
			stap_memory_put(o);
		}
	stap_memory_put(stap_notes);
}

#endif
