/* Files of the script: /proc/systemtap/MODULE/PATH.  A read asks handlers for the text, a write
 * hands it to them. */
#ifndef PYSTAP_KERNEL_PROCFS_H
#define PYSTAP_KERNEL_PROCFS_H

#include <linux/namei.h>
#include <linux/proc_fs.h>
#include <linux/workqueue.h>

#include "kernel_probes.h"
#include "procfs_text.h"

#define STAP_PROCFS_ROOT "systemtap"

struct stap_proc_file {
	const char *path; /* with directories, each of which is a file without probes before */
	const u16 *readers, *writers; /* probes, 0xffff behind the last; NULL: none */
	u32 most; /* bytes of a text that is read */
	umode_t mode;
	struct proc_dir_entry *entry;
};

static struct proc_dir_entry *stap_procfs_directory;
static DEFINE_MUTEX(stap_procfs_mutex); /* one handler at a time has the text */
static struct stap_file_text stap_procfs_text;

/* What an open file gives: the text of its last read from the beginning. */
struct stap_proc_reading {
	u32 length;
	char bytes[];
};

static void stap_procfs_run(const u16 *probes)
{
	struct stap_event event = { .text = &stap_procfs_text };

	for (; *probes != 0xffff; probes++) {
		preempt_disable();
		stap_probe_hit(*probes, &event);
		preempt_enable();
	}
}

static struct stap_proc_reading *stap_procfs_ask(struct stap_proc_file *f)
{
	struct stap_proc_reading *reading;
	u32 length;

	mutex_lock(&stap_procfs_mutex);
	stap_procfs_text.length = 0;
	stap_procfs_text.bytes[0] = 0;
	stap_procfs_run(f->readers);
	length = min_t(u32, stap_procfs_text.length, f->most);
	reading = kvmalloc(sizeof(*reading) + length, GFP_KERNEL);
	if (reading) {
		reading->length = length;
		memcpy(reading->bytes, stap_procfs_text.bytes, length);
	}
	mutex_unlock(&stap_procfs_mutex);
	return reading;
}

static ssize_t stap_procfs_read(struct file *file, char __user *to, size_t size, loff_t *at)
{
	struct stap_proc_file *f = pde_data(file_inode(file));
	struct stap_proc_reading *reading = file->private_data;

	if (!f->readers)
		return -EACCES;
	if (!*at || !reading) {
		reading = stap_procfs_ask(f);
		if (!reading)
			return -ENOMEM;
		kvfree(file->private_data);
		file->private_data = reading;
	}
	return simple_read_from_buffer(to, size, at, reading->bytes, reading->length);
}

/* In pieces that a string can hold. */
static ssize_t stap_procfs_write(struct file *file, const char __user *from, size_t size,
				 loff_t *at)
{
	struct stap_proc_file *f = pde_data(file_inode(file));
	size_t done, piece;
	int error = 0;

	if (!f->writers)
		return -EACCES;
	mutex_lock(&stap_procfs_mutex);
	for (done = 0; done < size && !error; done += piece) {
		piece = min_t(size_t, size - done, MAXSTRINGLEN - 1);
		if (copy_from_user(stap_procfs_text.bytes, from + done, piece)) {
			error = -EFAULT;
			break;
		}
		stap_procfs_text.bytes[piece] = 0;
		stap_procfs_text.length = piece;
		stap_procfs_run(f->writers);
	}
	mutex_unlock(&stap_procfs_mutex);
	*at += done;
	return error ? error : done;
}

static int stap_procfs_release(struct inode *inode, struct file *file)
{
	kvfree(file->private_data);
	return 0;
}

static const struct proc_ops stap_procfs_operations = {
	.proc_read = stap_procfs_read,
	.proc_write = stap_procfs_write,
	.proc_lseek = default_llseek,
	.proc_release = stap_procfs_release,
};

/* Whether the directory of all modules is there, and whether one is in it. */
static bool stap_procfs_root(bool *used)
{
	struct path path;
	struct kstat stat;
	bool there = !kern_path("/proc/" STAP_PROCFS_ROOT, 0, &path);

	*used = false;
	if (there) {
		if (!vfs_getattr(&path, &stat, STATX_NLINK, 0))
			*used = stat.nlink > 2;
		path_put(&path);
	}
	return there;
}

static int stap_procfs_start(struct stap_proc_file *files, int count, u32 most)
{
	char name[sizeof(STAP_PROCFS_ROOT) + MODULE_NAME_LEN + 1];
	bool used;
	int i;

	stap_procfs_text.size = most + MAXSTRINGLEN;
	stap_procfs_text.bytes = kvmalloc(stap_procfs_text.size, GFP_KERNEL);
	if (!stap_procfs_text.bytes)
		return -ENOMEM;
	if (!stap_procfs_root(&used) && !proc_mkdir(STAP_PROCFS_ROOT, NULL))
		return -ENOMEM;
	snprintf(name, sizeof(name), STAP_PROCFS_ROOT "/%s", THIS_MODULE->name);
	stap_procfs_directory = proc_mkdir(name, NULL);
	if (!stap_procfs_directory)
		return -ENOMEM;
	for (i = 0; i < count; i++) {
		struct stap_proc_file *f = &files[i];

		if (!f->readers && !f->writers)
			f->entry = proc_mkdir(f->path, stap_procfs_directory);
		else
			f->entry = proc_create_data(f->path, f->mode, stap_procfs_directory,
						    &stap_procfs_operations, f);
		if (!f->entry)
			return -ENOMEM;
	}
	return 0;
}

/* Remove the directory of all modules when there is none in it. */
static void stap_procfs_clean(struct work_struct *work)
{
	bool used;

	if (stap_procfs_root(&used) && !used)
		remove_proc_entry(STAP_PROCFS_ROOT, NULL);
}

static DECLARE_WORK(stap_procfs_cleaning, stap_procfs_clean);

static void stap_procfs_stop(void)
{
	proc_remove(stap_procfs_directory);
	stap_procfs_directory = NULL;
	/* A process that is ending can no longer look for files. */
	schedule_work(&stap_procfs_cleaning);
	flush_work(&stap_procfs_cleaning);
	kvfree(stap_procfs_text.bytes);
	stap_procfs_text.bytes = NULL;
}

#endif
