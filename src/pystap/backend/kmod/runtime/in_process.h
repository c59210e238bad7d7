/* A session in a process: begin and end probes only.  The tests run the language this way. */
#ifndef PYSTAP_IN_PROCESS_H
#define PYSTAP_IN_PROCESS_H

#include "session.h"

#define PYSTAP_SESSION \
	int main(void) \
	{ \
		return session_run(init_probes, init_count, begin_probes, begin_count, \
				   end_probes, end_count, error_probes, error_count); \
	}

static struct context the_context;

static struct context *context_here(void)
{
	return &the_context;
}

static void transport_message(enum message kind, const char *text, size_t size, bool more)
{
	static const char *const before[] = { "", "ERROR: ", "WARNING: ", "COMMAND: " };
	FILE *to = kind == MESSAGE_OUTPUT ? stdout : stderr;

	(void)more;
	fputs(before[kind], to);
	fwrite(text, 1, size, to);
	if (kind != MESSAGE_OUTPUT)
		fputc('\n', to);
}

static int storage_create(void);
static void storage_destroy(void);

static int session_run(const u16 *inits, int init_count, const u16 *begins, int begin_count,
		       const u16 *ends, int end_count, const u16 *errors, int error_count)
{
	int failed;

	if (context_create(&the_context) || storage_create())
		return 2;
	session_probes(inits, init_count, STARTING);
	session_probes(begins, begin_count, STARTING);
	atomic_cmpxchg(&session_phase, STARTING, RUNNING);
	if (atomic_read(&session_phase) != FAILED) {
		atomic_set(&session_phase, STOPPING);
		session_probes(ends, end_count, STOPPING);
	}
	if (atomic_read(&session_phase) == FAILED)
		session_probes(errors, error_count, FAILED);
	failed = atomic_read(&session_errors) + atomic_read(&session_suppressed);
	if (failed || atomic_read(&session_skipped))
		fprintf(stderr, "WARNING: Number of errors: %d, skipped probes: %d\n", failed,
			atomic_read(&session_skipped));
	storage_destroy();
	context_destroy(&the_context);
	return atomic_read(&session_phase) == FAILED;
}

static s64 here_pid(void) { return getpid(); }
static s64 here_tid(void) { return getpid(); }
static s64 here_uid(void) { return getuid(); }
static s64 here_gid(void) { return getgid(); }
static s64 here_address(void) { return (s64)&the_context; }
static void here_name(char *to) { copy_string(to, "process", 16); }
static s64 clock_real(void) { return ktime_get_real_ns(); }
static s64 random_bits(void) { return random() & 0xffffffff; }

/* Memory of the process stands for both the kernel's and a user's. */
static bool memory_read(void *to, u64 from, size_t size, bool user)
{
	struct iovec here = { to, size }, there = { (void *)from, size };

	(void)user;
	return !size || process_vm_readv(getpid(), &here, 1, &there, 1, 0) == (ssize_t)size;
}

#endif
