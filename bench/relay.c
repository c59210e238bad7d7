/* A file of the kernel's relay interface, full of text, as SIZE kilobytes are asked for: what the
 * output of modules is compared with.  It is /sys/kernel/debug/bench_relay0. */
#include <linux/debugfs.h>
#include <linux/module.h>
#include <linux/relay.h>

#define PART (256 * 1024)

static unsigned int kilobytes = 4096;
module_param(kilobytes, uint, 0400);

static struct rchan *channel;

static struct dentry *create_file(const char *name, struct dentry *parent, umode_t mode,
				  struct rchan_buf *buffer, int *is_global)
{
	*is_global = 1;
	return debugfs_create_file("bench_relay0", mode, parent, buffer, &relay_file_operations);
}

static int remove_file(struct dentry *file)
{
	debugfs_remove(file);
	return 0;
}

static const struct rchan_callbacks callbacks = {
	.create_buf_file = create_file,
	.remove_buf_file = remove_file,
};

static int __init begin(void)
{
	static const char line[] = "a line of some 32 characters...\n";
	u32 left;

	channel = relay_open("bench_relay", NULL, PART, kilobytes * 1024 / PART + 1, &callbacks,
			     NULL);
	if (!channel)
		return -ENOMEM;
	for (left = kilobytes * 32; left; left--)
		relay_write(channel, line, sizeof(line) - 1);
	relay_flush(channel);
	return 0;
}

static void __exit end(void)
{
	relay_close(channel);
}

module_init(begin);
module_exit(end);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("a full relay file");
