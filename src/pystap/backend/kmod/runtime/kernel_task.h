/* The current task, clocks and memory, in the kernel. */
#ifndef PYSTAP_KERNEL_TASK_H
#define PYSTAP_KERNEL_TASK_H

#include <linux/cgroup.h>
#include <linux/cred.h>
#include <linux/jiffies.h>
#include <linux/sched/signal.h>
#include <linux/timex.h>
#include <asm/irq_regs.h>

#include "session.h"

static int stap_target_pid;
static int stap_target_held; /* the target is a command that has yet to begin */
static int stap_stp_pid;
static int stap_zone_west;
static char stap_zone_name[64] = "UTC";

/* The task that the event is about. */
static struct task_struct *stap_here_task(const struct stap_context *c)
{
	return c->event->task ? c->event->task : current;
}

static s64 __maybe_unused stap_here_pid(struct stap_context *c) { return stap_here_task(c)->tgid; }
static s64 __maybe_unused stap_here_tid(struct stap_context *c) { return stap_here_task(c)->pid; }
static s64 __maybe_unused stap_here_uid(void) { return from_kuid(&init_user_ns, current_uid()); }
static s64 __maybe_unused stap_here_gid(void) { return from_kgid(&init_user_ns, current_gid()); }
static s64 __maybe_unused stap_here_address(struct stap_context *c)
{
	return (s64)stap_here_task(c);
}

static void __maybe_unused stap_here_name(char *to) { stap_copy_string(to, current->comm, 16); }

static s64 __maybe_unused stap_here_user_address(void)
{
	return current->mm ? instruction_pointer(task_pt_regs(current)) : 0;
}

static s64 __maybe_unused stap_here_cgroup(void)
{
	s64 found = 0;

#ifdef CONFIG_CGROUPS
	rcu_read_lock();
	found = cgroup_id(task_dfl_cgroup(current));
	rcu_read_unlock();
#endif
	return found;
}

/* What is known of processes by number, when somebody asks; more bits are those of
 * kernel_processes.h. */
enum {
	STAP_PROCESS_KNOWN = 1,
	STAP_PROCESS_TARGET = 2, /* is target() or comes from it */
	STAP_PROCESS_HELD = 4, /* the command of -c before it runs: still the session's program */
	STAP_PROCESS_OTHERS = 8,
};

static u16 *stap_process_states;

static bool stap_in_target(pid_t tgid)
{
	u16 state = stap_process_states ? READ_ONCE(stap_process_states[tgid]) : 0;

	return (state & (STAP_PROCESS_TARGET | STAP_PROCESS_HELD)) == STAP_PROCESS_TARGET;
}

static s64 __maybe_unused stap_here_in_target(struct stap_context *c)
{
	return stap_in_target(stap_here_task(c)->tgid);
}

/* Whether the handler that runs on a CPU may wait for memory that is not there. */
static DEFINE_PER_CPU(bool, stap_waits);

static bool stap_may_wait(bool may)
{
	return this_cpu_xchg(stap_waits, may);
}

/* Let the kernel bring the memory in.  Other handlers run on this CPU meanwhile. */
static noinline bool stap_memory_await(void *to, u64 from, size_t size)
{
	bool done;

	stap_may_wait(false);
	preempt_enable();
	done = !copy_from_user(to, (const void __user *)from, size);
	preempt_disable();
	stap_may_wait(true);
	return done;
}

static s64 __maybe_unused stap_session_target(void) { return stap_target_pid; }
static s64 __maybe_unused stap_session_pid(void) { return stap_stp_pid; }
static s64 __maybe_unused stap_session_west(void) { return stap_zone_west; }
static const char *__maybe_unused stap_session_zone(void) { return stap_zone_name; }

static s64 __maybe_unused stap_clock_monotonic(void) { return ktime_get_mono_fast_ns(); }
static s64 __maybe_unused stap_clock_boot(void) { return ktime_get_boot_fast_ns(); }
static s64 __maybe_unused stap_clock_real(void) { return ktime_get_real_fast_ns(); }
static s64 __maybe_unused stap_clock_cycles(void) { return get_cycles(); }
static s64 __maybe_unused stap_clock_jiffies(void) { return get_jiffies_64(); }
static s64 __maybe_unused stap_clock_hz(void) { return HZ; }

static s64 __maybe_unused stap_random_bits(void)
{
	u32 bits;

	get_random_bytes(&bits, sizeof(bits));
	return bits;
}

static s64 __maybe_unused stap_raise_signal(s64 number)
{
	if (number < 0 || number > _NSIG)
		return -EINVAL;
	return send_sig(number, current, 1);
}

static bool stap_memory_read(void *to, u64 from, size_t size, bool user)
{
	if (!user)
		return !copy_from_kernel_nofault(to, (const void *)from, size);
	if (likely(!copy_from_user_nofault(to, (const void __user *)from, size)))
		return true;
	return this_cpu_read(stap_waits) && stap_memory_await(to, from, size);
}

#ifdef arch_put_kernel_nofault
#define stap_put_kernel arch_put_kernel_nofault
#else
#define stap_put_kernel __put_kernel_nofault
#endif

/* A write to the kernel's memory; numbers are written in one go. */
static bool stap_kernel_write(u64 to, const void *from, size_t size)
{
	size_t at;

	pagefault_disable();
	switch (size) {
	case 8: stap_put_kernel((void *)to, from, u64, failed); break;
	case 4: stap_put_kernel((void *)to, from, u32, failed); break;
	case 2: stap_put_kernel((void *)to, from, u16, failed); break;
	default:
		for (at = 0; at < size; at++)
			stap_put_kernel((void *)(to + at), from + at, u8, failed);
	}
	pagefault_enable();
	return true;
failed:
	pagefault_enable();
	return false;
}

static bool __maybe_unused stap_memory_write(u64 to, const void *from, size_t size, bool user)
{
	u8 there;

	if (user)
		return !copy_to_user_nofault((void __user *)to, from, size);
	/* The kernel warns of a fault at an address that none can be. */
	return !copy_from_kernel_nofault(&there, (const void *)to, 1) &&
	       stap_kernel_write(to, from, size);
}

#endif
