/* Programs and libraries that probes are about, and which processes count. */
#ifndef PYSTAP_KERNEL_FILES_H
#define PYSTAP_KERNEL_FILES_H

#include <linux/dcache.h>
#include <linux/fs.h>
#include <linux/mm_types.h>
#include <linux/namei.h>

#include "kernel_task.h"

struct stap_file {
	const char *name;
	struct path path;
	bool held;
};

/* Whose events count: of a program, of a process, of the target, else of all. */
struct stap_who {
	struct stap_file *program;
	int pid;
	bool target_only;
};

static int stap_file_hold(struct stap_file *file)
{
	int error;

	if (file->held)
		return 0;
	error = kern_path(file->name, LOOKUP_FOLLOW, &file->path);
	file->held = !error;
	return error;
}

static void stap_files_drop(struct stap_file *files, int count)
{
	int i;

	for (i = 0; i < count; i++) {
		if (files[i].held)
			path_put(&files[i].path);
		files[i].held = false;
	}
}

/* What a process that runs the file shows.  On overlayfs another inode has the contents. */
static const struct inode *stap_file_inode(const struct stap_file *file)
{
	return file->held ? d_backing_inode(file->path.dentry) : NULL;
}

/* The inode of the program of a task, by reads that cannot fault: the task may be ending. */
static const struct inode *stap_program_of(struct task_struct *task)
{
	const struct mm_struct *mm = READ_ONCE(task->mm);
	const struct file *file = NULL;
	const struct inode *inode = NULL;

	if (!mm || (task->flags & PF_KTHREAD) ||
	    copy_from_kernel_nofault(&file, &mm->exe_file, sizeof(file)) || !file ||
	    copy_from_kernel_nofault(&inode, &file->f_inode, sizeof(inode)))
		return NULL;
	return inode;
}

/* Whether the current task is one of those that count. */
static bool __maybe_unused stap_who_fits(const struct stap_who *who)
{
	if (who->pid && current->tgid != who->pid)
		return false;
	if (who->target_only && !stap_in_target(current->tgid))
		return false;
	return !who->program || stap_program_of(current) == stap_file_inode(who->program);
}

#endif
