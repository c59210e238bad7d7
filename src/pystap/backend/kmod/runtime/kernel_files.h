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

/* A file that is not there is nobody's program. */
static void __maybe_unused stap_files_hold(struct stap_file *files, int count)
{
	char text[512];
	int i, size, error;

	for (i = 0; i < count; i++) {
		error = stap_file_hold(&files[i]);
		if (!error)
			continue;
		size = snprintf(text, sizeof(text), "cannot find '%s' (rc %d)", files[i].name,
				error);
		stap_transport_message(STAP_MESSAGE_WARNING, text,
				       min_t(int, size, sizeof(text) - 1), false);
	}
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

static bool stap_is_program(const struct inode *inode, const struct stap_file *program)
{
	return inode && inode == stap_file_inode(program);
}

/* Whether the current task is one of those that count. */
static bool __maybe_unused stap_who_fits(const struct stap_who *who)
{
	if (who->pid && current->tgid != who->pid)
		return false;
	if (who->target_only && !stap_in_target(current->tgid))
		return false;
	return !who->program || stap_is_program(stap_program_of(current), who->program);
}

#endif
