/* What is mapped at an address of the current process.
 *
 * The kernel's own tree of mappings is searched by reads that cannot fault, without its lock:
 * that can be done in any handler, non-maskable interrupts among them.  A change at the same
 * moment makes a mapping unknown, at worst. */
#ifndef PYSTAP_KERNEL_MAPPINGS_H
#define PYSTAP_KERNEL_MAPPINGS_H

#include <linux/fs.h>
#include <linux/maple_tree.h>
#include <linux/mm_types.h>

#include "kernel_task.h"

struct stap_mapping {
	u64 start, end;
	u64 offset; /* of its beginning in the file, in bytes */
	u64 inode, device; /* of the file; STAP_VDSO_INODE, 0: the kernel's own code */
	const struct file *file;
};

#define STAP_DEEPEST_TREE 8 /* one of 10^4 mappings has 4 levels */

/* Take a member's value from somewhere in the kernel; whether that failed. */
#define stap_peek(to, from) copy_from_kernel_nofault(&(to), &(from), sizeof(to))

static bool stap_is_tree_node(const void *entry)
{
	return ((unsigned long)entry & 3) == 2;
}

/* The entry of a node that an address belongs to: the pivots are the last addresses of slots. */
static void *stap_tree_descend(const void *entry, unsigned long address)
{
	const void *place = (const void *)((unsigned long)entry & ~255ul);
	const unsigned long *pivots;
	struct maple_node node;
	void *const *slots;
	u32 i = 0, count;

	if (copy_from_kernel_nofault(&node, place, sizeof(node)))
		return NULL;
	if (((unsigned long)entry >> 3 & 15) == maple_arange_64) {
		pivots = node.ma64.pivot;
		slots = (void *const *)node.ma64.slot;
		count = min_t(u32, node.ma64.meta.end, MAPLE_ARANGE64_SLOTS - 1);
	} else {
		pivots = node.mr64.pivot;
		slots = (void *const *)node.mr64.slot;
		count = pivots[MAPLE_RANGE64_SLOTS - 2] ?
				MAPLE_RANGE64_SLOTS - 1 :
				min_t(u32, node.mr64.meta.end, MAPLE_RANGE64_SLOTS - 1);
	}
	while (i < count && pivots[i] < address)
		i++;
	return slots[i];
}

/* Whether the task was in code of 32 bits when it entered the kernel. */
static bool stap_entered_narrow(void)
{
	return task_pt_regs(current)->cs == __USER32_CS;
}

/* Which file is mapped; nothing is known of other memory. */
static void stap_mapping_identify(struct stap_mapping *m)
{
	const struct super_block *system;
	const struct inode *inode;
	unsigned long number;
	dev_t device;

	m->inode = m->device = 0;
	if (!m->file) {
		if (m->start == (unsigned long)current->mm->context.vdso)
			m->inode = stap_entered_narrow() ? STAP_NARROW_VDSO_INODE :
							   STAP_VDSO_INODE;
		return;
	}
	if (stap_peek(inode, m->file->f_inode) || stap_peek(number, inode->i_ino) ||
	    stap_peek(system, inode->i_sb) || stap_peek(device, system->s_dev))
		return;
	m->inode = number;
	m->device = device;
}

/* Find the mapping of an address; false when there is none. */
static bool stap_mapping_find(struct stap_mapping *m, u64 address)
{
	const struct mm_struct *mm = current->mm;
	const struct vm_area_struct *area;
	unsigned long start, end, pages;
	bool inner;
	void *entry;
	int depth;

	if (!mm)
		return false;
	entry = READ_ONCE(mm->mm_mt.ma_root);
	inner = stap_is_tree_node(entry);
	for (depth = 0; inner && depth < STAP_DEEPEST_TREE; depth++) {
		inner = ((unsigned long)entry >> 3 & 15) > maple_leaf_64;
		entry = stap_tree_descend(entry, address);
	}
	area = entry;
	if (!area || stap_peek(start, area->vm_start) || stap_peek(end, area->vm_end) ||
	    address < start || address >= end || stap_peek(pages, area->vm_pgoff) ||
	    stap_peek(m->file, area->vm_file))
		return false;
	m->start = start;
	m->end = end;
	m->offset = (u64)pages << PAGE_SHIFT;
	stap_mapping_identify(m);
	return true;
}

/* The offset in its file of an address in a mapping. */
static u64 stap_mapping_offset(const struct stap_mapping *m, u64 address)
{
	return address - m->start + m->offset;
}

/* The last part of the path of a file mapped; NULL when it cannot be told. */
static const char *stap_mapping_name(const struct stap_mapping *m)
{
	const struct dentry *entry;
	const unsigned char *name;

	if (!m->file || stap_peek(entry, m->file->f_path.dentry) ||
	    stap_peek(name, entry->d_name.name))
		return NULL;
	return (const char *)name;
}

#endif
