/* Probes on instructions of user programs. */
#ifndef PYSTAP_KERNEL_UPROBES_H
#define PYSTAP_KERNEL_UPROBES_H

#include <linux/uprobes.h>

#include "kernel_files.h"
#include "kernel_probes.h"

struct stap_uprobe {
	int probe;
	struct stap_file *file;
	u64 offset, semaphore; /* in the file */
	bool is_return;
	struct stap_who who;
	struct uprobe_consumer consumer;
	struct inode *inode; /* held while the probe is in place */
	struct uprobe *handle; /* where the kernel gives one */
};

/* The kernel's interface has changed; which one it is shows in its types. */
#define STAP_OLD_UPROBES \
	__builtin_types_compatible_p(typeof(&uprobe_register), \
		int (*)(struct inode *, loff_t, struct uprobe_consumer *))
#define STAP_PLAIN_UPROBE_HANDLERS \
	__builtin_types_compatible_p(typeof(((struct uprobe_consumer *)0)->handler), \
		int (*)(struct uprobe_consumer *, struct pt_regs *))

typedef struct uprobe *(*stap_uprobe_register)(struct inode *, loff_t, loff_t,
					       struct uprobe_consumer *);

/* Declared here, too, because each kernel has only some of them; the others are never called. */
int uprobe_register_refctr(struct inode *inode, loff_t offset, loff_t counter,
			   struct uprobe_consumer *consumer);
void uprobe_unregister(struct inode *inode, loff_t offset, struct uprobe_consumer *consumer);
void uprobe_unregister_nosync(struct uprobe *uprobe, struct uprobe_consumer *consumer);
void uprobe_unregister_sync(void);

#define stap_uprobe_of(consumer_) container_of(consumer_, struct stap_uprobe, consumer)

static int stap_uprobe_hit(struct stap_uprobe *u, struct pt_regs *regs)
{
	struct stap_event event = {
		.regs = regs,
		.result = u->is_return ? regs_return_value(regs) : 0,
		.may_fault = true,
	};

	preempt_disable();
	if (stap_who_fits(&u->who))
		stap_probe_hit(u->probe, &event);
	preempt_enable();
	return 0;
}

static int __maybe_unused stap_uprobe_entered(struct uprobe_consumer *self, struct pt_regs *regs)
{
	return stap_uprobe_hit(stap_uprobe_of(self), regs);
}

static int __maybe_unused stap_uprobe_entered_3(struct uprobe_consumer *self, struct pt_regs *regs,
						__u64 *data)
{
	return stap_uprobe_hit(stap_uprobe_of(self), regs);
}

static int __maybe_unused stap_uprobe_left(struct uprobe_consumer *self, unsigned long function,
					   struct pt_regs *regs)
{
	return stap_uprobe_hit(stap_uprobe_of(self), regs);
}

static int __maybe_unused stap_uprobe_left_4(struct uprobe_consumer *self, unsigned long function,
					     struct pt_regs *regs, __u64 *data)
{
	return stap_uprobe_hit(stap_uprobe_of(self), regs);
}

static int stap_uprobe_insert(struct stap_uprobe *u)
{
	if (STAP_OLD_UPROBES)
		return uprobe_register_refctr(u->inode, u->offset, u->semaphore, &u->consumer);
	u->handle = ((stap_uprobe_register)(void *)uprobe_register)(u->inode, u->offset,
								    u->semaphore, &u->consumer);
	return IS_ERR(u->handle) ? PTR_ERR(u->handle) : 0;
}

static int stap_uprobe_start(struct stap_uprobe *u)
{
	int error = stap_file_hold(u->file);

	if (error)
		return error;
	if (u->is_return)
		u->consumer.ret_handler = __builtin_choose_expr(
			STAP_PLAIN_UPROBE_HANDLERS, stap_uprobe_left, stap_uprobe_left_4);
	else
		u->consumer.handler = __builtin_choose_expr(
			STAP_PLAIN_UPROBE_HANDLERS, stap_uprobe_entered, stap_uprobe_entered_3);
	u->inode = igrab(d_real_inode(u->file->path.dentry));
	if (!u->inode)
		return -ENOENT;
	error = stap_uprobe_insert(u);
	if (error) {
		iput(u->inode);
		u->inode = NULL;
	}
	return error;
}

/* A place that the kernel refuses is left out, and said so. */
static int stap_uprobes_start(struct stap_uprobe *uprobes, int count)
{
	int i, error;

	for (i = 0; i < count; i++) {
		error = stap_uprobe_start(&uprobes[i]);
		if (error)
			stap_probe_left_out(uprobes[i].probe, error);
	}
	return 0;
}

static void stap_uprobes_stop(struct stap_uprobe *uprobes, int count)
{
	bool any = false;
	int i;

	for (i = 0; i < count; i++) {
		struct stap_uprobe *u = &uprobes[i];

		if (!u->inode)
			continue;
		any = true;
		if (STAP_OLD_UPROBES)
			uprobe_unregister(u->inode, u->offset, &u->consumer);
		else
			uprobe_unregister_nosync(u->handle, &u->consumer);
	}
	if (any && !STAP_OLD_UPROBES)
		uprobe_unregister_sync();
	for (i = 0; i < count; i++) {
		if (uprobes[i].inode)
			iput(uprobes[i].inode);
		uprobes[i].inode = NULL;
	}
}

#endif
