/* A session in a process: begin and end probes only.  The tests run the language this way. */
#ifndef PYSTAP_IN_PROCESS_H
#define PYSTAP_IN_PROCESS_H

#include "session.h"

#define STAP_MODULE \
	int main(void) \
	{ \
		stap_script = stap_scripts[0]; \
		return stap_session_run(); \
	}

static struct stap_context stap_the_context;

static struct stap_context *stap_context_here(void)
{
	return &stap_the_context;
}

static struct stap_context *stap_context_sleeper(void)
{
	return NULL;
}

static bool stap_may_wait(bool may)
{
	return false;
}

static void stap_transport_message(enum stap_message kind, const char *text, size_t size, bool more)
{
	static const char *const before[] = { "", "ERROR: ", "WARNING: ", "COMMAND: " };
	FILE *to = kind == STAP_MESSAGE_OUTPUT ? stdout : stderr;

	(void)more;
	fputs(before[kind], to);
	fwrite(text, 1, size, to);
	if (kind != STAP_MESSAGE_OUTPUT)
		fputc('\n', to);
}

static int stap_session_run(void)
{
	int failed;

	if (stap_context_create(&stap_the_context) || stap_script->create())
		return 2;
	stap_session_probes(STAP_INIT, STAP_STARTING);
	stap_session_probes(STAP_BEGIN, STAP_STARTING);
	atomic_cmpxchg(&stap_session_phase, STAP_STARTING, STAP_RUNNING);
	if (atomic_read(&stap_session_phase) != STAP_FAILED) {
		atomic_set(&stap_session_phase, STAP_STOPPING);
		stap_session_probes(STAP_END, STAP_STOPPING);
	}
	if (atomic_read(&stap_session_phase) == STAP_FAILED)
		stap_session_probes(STAP_ERROR, STAP_FAILED);
	failed = atomic_read(&stap_session_errors) + atomic_read(&stap_session_suppressed);
	if (failed || atomic_read(&stap_session_skipped))
		fprintf(stderr, "WARNING: Number of errors: %d, skipped probes: %d\n", failed,
			atomic_read(&stap_session_skipped));
	stap_script->destroy();
	stap_context_destroy(&stap_the_context);
	return atomic_read(&stap_session_phase) == STAP_FAILED;
}

static s64 stap_here_pid(struct stap_context *c) { return getpid(); }
static s64 stap_here_tid(struct stap_context *c) { return getpid(); }
static s64 stap_here_uid(void) { return getuid(); }
static s64 stap_here_gid(void) { return getgid(); }
static s64 stap_here_address(struct stap_context *c) { return (s64)&stap_the_context; }
static void stap_here_name(char *to) { stap_copy_string(to, "process", 16); }
static s64 stap_clock_monotonic(void) { return 0; }
static s64 stap_clock_cycles(void) { return 0; }
static s64 stap_clock_real(void) { return ktime_get_real_ns(); }
static s64 stap_random_bits(void) { return random() & 0xffffffff; }

static s64 stap_user_frames(struct stap_context *c) { return 0; }
static s64 stap_user_frames_from(struct stap_context *c, s64 pc, s64 sp, s64 bp) { return 0; }
static s64 stap_user_frame(struct stap_context *c, s64 number) { return 0; }
static s64 stap_user_place(struct stap_context *c, s64 address, s64 back) { return 0; }
static s64 stap_user_inlined(struct stap_context *c) { return 0; }
static void stap_user_text(char *to, u32 size, const char *from) { *to = 0; }

static s64 stap_stack_frame(struct stap_context *c, s64 number) { return 0; }

static void stap_kernel_symbol(char *to, u32 size, s64 address)
{
	snprintf(to, size, "%#llx", (unsigned long long)address);
}

#define stap_kernel_symbol_data stap_kernel_symbol

/* Memory of the process stands for both the kernel's and a user's. */
static bool stap_memory_read(void *to, u64 from, size_t size, bool user)
{
	struct iovec here = { to, size }, there = { (void *)from, size };

	(void)user;
	return !size || process_vm_readv(getpid(), &here, 1, &there, 1, 0) == (ssize_t)size;
}

static bool __maybe_unused stap_memory_write(u64 to, const void *from, size_t size, bool user)
{
	struct iovec here = { (void *)from, size }, there = { (void *)to, size };

	(void)user;
	return process_vm_writev(getpid(), &here, 1, &there, 1, 0) == (ssize_t)size;
}

#endif
