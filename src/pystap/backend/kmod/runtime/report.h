/* /proc/pystap_MODULE/hits: how often probes were hit and how long handlers took, for -t.
 *
 * "unit N" (STAP_TIMING), "tty N" (whether it goes to standard output in any case), "start TIME",
 * "reentrant N", "lock SKIPPED CONTENDED NAME" for each variable, then for each probe and CPU
 * "hits INDEX COUNT SUM LEAST MOST MEAN M2", after "probe INDEX POINT\tPLACE\tDERIVATION...". */
#ifndef PYSTAP_REPORT_H
#define PYSTAP_REPORT_H

#include "transport.h"

static int stap_report_show(struct seq_file *file, void *data)
{
	u32 i;
	int cpu;

	seq_printf(file, "unit %d\ntty %d\nstart %llu\nreentrant %d\n", STAP_TIMING, STAP_FORCE_TTY,
		   stap_start_time, atomic_read(&stap_session_reentrant));
	for (i = 0; i < stap_script->lock_count; i++)
		seq_printf(file, "lock %lld %lld %s\n",
			   atomic64_read(&stap_script->locks[i].failures),
			   atomic64_read(&stap_script->locks[i].contended),
			   stap_script->lock_names[i]);
	for (i = 0; i < stap_script->probe_count; i++) {
		seq_printf(file, "probe %u %s\n", i, stap_script->labels[i]);
		for_each_possible_cpu(cpu) {
			struct stap_hits h = stap_hits[cpu * stap_script->probe_count + i];

			if (h.count)
				seq_printf(file, "hits %u %llu %llu %llu %llu %lld %llu\n", i,
					   h.count, h.sum, h.least, h.most, h.mean, h.m2);
		}
	}
	return 0;
}

static int stap_report_open(struct inode *inode, struct file *file)
{
	return single_open(file, stap_report_show, NULL);
}

static const struct proc_ops stap_report_operations = {
	.proc_open = stap_report_open,
	.proc_read = seq_read,
	.proc_lseek = seq_lseek,
	.proc_release = single_release,
};

static int stap_report_create(void)
{
	int error = stap_hits_create(stap_script->probe_count);

	if (!error && STAP_TIMING &&
	    !proc_create("hits", 0400, stap_proc_directory, &stap_report_operations))
		error = -ENOMEM;
	return error;
}

#endif
