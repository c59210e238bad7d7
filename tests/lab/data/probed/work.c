/* Code to be probed: what is written to /proc/probed, "N LEVEL", says what it does. */
#include <linux/module.h>
#include <linux/percpu.h>
#include <linux/proc_fs.h>
#include <linux/uaccess.h>

#include "probed.h"

int probed_total;
static int probed_calls = 40;
static struct thing probed_last;
static struct inner probed_table[2] = { { 11, 'p' }, { 22, 'q' } };
static DEFINE_PER_CPU(int, probed_hits);
static long volatile probed_sink;

static noinline int leaf(int n)
{
	probed_total += n;
	return n * 2;
}

/* One of two functions of this name. */
static noinline int twin(int n)
{
	probed_sink = n;
	return n + 1;
}

/* Called with one factor only: the compiler makes a copy for it. */
static noinline int scaled(int n, int by)
{
	probed_sink = n * by;
	return n * by + probed_total;
}

static __always_inline int squared(int v)
{
	int half = v >> 1;

	probed_sink = half; /* LINE squared */
	return v * v;
}

noinline int probed_work(struct thing *t, int n, const char *label)
{
	int i, sum = 0;

	probed_calls++;
	for (i = 0; i < n; i++) {
		int part = leaf(i);

		probed_sink = part; /* LINE loop */
		sum += part + t->level;
	}
	sum += squared(n);
	if (sum < 0)
		goto failed;
	this_cpu_inc(probed_hits);
	probed_last = *t; /* LINE last */
	probed_sink = sum;
	return sum;
failed:
	probed_sink = sum; /* LINE failed */
	probed_last.x = -1;
	return -22;
}
EXPORT_SYMBOL_GPL(probed_work);

static ssize_t written(struct file *file, const char __user *from, size_t count, loff_t *pos)
{
	struct thing second = { .kind = 1, .level = 4, .num = 99, .name = "second" };
	struct thing t = {
		.kind = 5, .wide = 1ull << 33, .num = 77, .x = 3, .y = -4, .shade = DARK,
		.list = { { 1, 'a' }, { 2, 'b' }, { 3, 'c' } }, .next = &second, .name = "first",
	};
	struct pair pair = { .first = 6, .second = -7 };
	char text[32] = "";
	int n, level, result;

	if (count >= sizeof(text) || copy_from_user(text, from, count))
		return -EFAULT;
	if (sscanf(text, "%d %d", &n, &level) != 2)
		return -EINVAL;
	t.level = level;
	result = probed_work(&t, n, "written");
	pair.first = result;
	probed_sink = probed_last.x + probed_table[n & 1].a;
	result += probed_other(pair, n) + twin(n) + scaled(n, 3) + scaled(result, 3);
	probed_sink = result; /* LINE result */
	return count;
}

static const struct proc_ops operations = { .proc_write = written };

static int __init probed_begin(void)
{
	return proc_create("probed", 0600, NULL, &operations) ? 0 : -ENOMEM;
}

static void __exit probed_end(void)
{
	remove_proc_entry("probed", NULL);
}

module_init(probed_begin);
module_exit(probed_end);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Code for tests of probes");
