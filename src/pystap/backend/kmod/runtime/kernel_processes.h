/* Begin and end of processes, and which of them belong to the target.
 *
 * A word for each process number tells what is known: an ending process has lost its memory, and
 * with it its program, and one whose parent has ended no longer shows that it descends from the
 * target.  It is kept by tracepoints from before the session runs, so nothing is missed.
 *
 * What runs already when the session begins is found then; the handlers of its begin run when it
 * next leaves a CPU.  A fork is told in the parent, before the child can run. */
#ifndef PYSTAP_KERNEL_PROCESSES_H
#define PYSTAP_KERNEL_PROCESSES_H

#include <linux/sched/task.h>

#include "kernel_files.h"
#include "kernel_probes.h"

enum {
	STAP_PROCESS_PENDING = STAP_PROCESS_OTHERS, /* its begin has yet to be told */
	STAP_PROCESS_AWAITED = STAP_PROCESS_OTHERS << 1, /* the same of a thread of this number */
	STAP_PROCESS_ENDED = STAP_PROCESS_OTHERS << 2,
	/* And above: the program's number from 1, 0 for any other. */
	STAP_PROCESS_PROGRAM = STAP_PROCESS_OTHERS << 3,
};

enum stap_edge { STAP_PROCESS_BEGIN, STAP_PROCESS_END, STAP_THREAD_BEGIN, STAP_THREAD_END };

struct stap_process_probe {
	int probe;
	enum stap_edge edge;
	struct stap_who who;
};

struct stap_processes {
	const struct stap_process_probe *probes;
	u32 count;
	bool target; /* somebody asks who belongs to the target */
	struct stap_file *files; /* of the module */
	u32 file_count;
};

#ifdef PF_USER_WORKER
#define STAP_NOT_USERS (PF_KTHREAD | PF_IO_WORKER | PF_USER_WORKER)
#else
#define STAP_NOT_USERS (PF_KTHREAD | PF_IO_WORKER)
#endif

static const struct stap_processes stap_processes;
static atomic_t stap_pending_count = ATOMIC_INIT(0); /* of PENDING and AWAITED */

static bool stap_process_events(enum stap_edge edge)
{
	u32 i;

	for (i = 0; i < stap_processes.count; i++)
		if (stap_processes.probes[i].edge == edge)
			return true;
	return false;
}

/* ---- states ---- */

/* Change bits of a state; what it was before. */
static u16 stap_process_change(pid_t pid, u16 clear, u16 set)
{
	u16 *at = &stap_process_states[pid], before = READ_ONCE(*at), now;

	while ((now = cmpxchg(at, before, (before & ~clear) | set)) != before)
		before = now;
	return before;
}

/* Whether a bit was set; it no longer is. */
static bool stap_process_take(pid_t pid, u16 bit)
{
	if (!(READ_ONCE(stap_process_states[pid]) & bit) ||
	    !(stap_process_change(pid, bit, 0) & bit))
		return false;
	atomic_dec(&stap_pending_count);
	return true;
}

/* The number of a task's program among the files of the module. */
static u16 stap_program_number(struct task_struct *task)
{
	const struct inode *inode = stap_program_of(task);
	u32 i;

	for (i = 0; inode && i < stap_processes.file_count; i++)
		if (stap_is_program(inode, &stap_processes.files[i]))
			return i + 1;
	return 0;
}

static bool stap_runs_program(u16 state, const struct stap_file *program)
{
	u16 number = state / STAP_PROCESS_PROGRAM;

	return number &&
	       stap_is_program(stap_file_inode(&stap_processes.files[number - 1]), program);
}

static bool stap_process_fits(const struct stap_who *who, pid_t tgid, u16 state)
{
	if (who->program)
		return stap_runs_program(state, who->program);
	if (who->pid)
		return tgid == who->pid;
	return !who->target_only || (state & STAP_PROCESS_TARGET);
}

/* Whether what is known of a process is of use. */
static bool stap_process_wanted(pid_t tgid, u16 state)
{
	u32 i;

	if (stap_processes.target && (state & STAP_PROCESS_TARGET))
		return true;
	for (i = 0; i < stap_processes.count; i++)
		if (stap_process_fits(&stap_processes.probes[i].who, tgid, state))
			return true;
	return false;
}

static bool stap_is_users(const struct task_struct *task)
{
	return !(task->flags & STAP_NOT_USERS);
}

/* ---- events ---- */

/* Run the handlers that want an event; `task` when it is not about the current one. */
static void stap_process_tell(enum stap_edge edge, pid_t tgid, u16 state, struct task_struct *task)
{
	struct stap_event event = { .task = task, .has_stack = true };
	u32 i;

	for (i = 0; i < stap_processes.count; i++) {
		const struct stap_process_probe *p = &stap_processes.probes[i];

		if (p->edge == edge && stap_process_fits(&p->who, tgid, state))
			stap_probe_hit(p->probe, &event);
	}
}

/* A process begins; what was known of its number is no more.  Whether somebody wants it. */
static bool stap_process_admit(pid_t tgid, u16 state)
{
	bool wanted = stap_process_wanted(tgid, state);
	u16 before;

	state |= STAP_PROCESS_KNOWN;
	if (atomic_read(&stap_session_phase) == STAP_STARTING)
		state |= STAP_PROCESS_PENDING;
	before = stap_process_change(tgid, 0xffff, wanted ? state : 0);
	if (wanted && (state & STAP_PROCESS_PENDING))
		atomic_inc(&stap_pending_count);
	if (before & STAP_PROCESS_PENDING)
		atomic_dec(&stap_pending_count);
	return wanted;
}

static void stap_process_tell_pending(pid_t tgid, pid_t tid)
{
	u16 state = READ_ONCE(stap_process_states[tgid]);

	if (!(state & STAP_PROCESS_KNOWN))
		return;
	if (stap_process_take(tgid, STAP_PROCESS_PENDING))
		stap_process_tell(STAP_PROCESS_BEGIN, tgid, state, NULL);
	if (tid != tgid && stap_process_take(tid, STAP_PROCESS_AWAITED))
		stap_process_tell(STAP_THREAD_BEGIN, tgid, state, NULL);
}

static bool stap_is_running(void)
{
	return atomic_read(&stap_session_phase) == STAP_RUNNING;
}

static bool stap_is_over(void)
{
	return atomic_read(&stap_session_phase) > STAP_RUNNING;
}

/* The current task runs the new program already. */
static void stap_process_execs(void *data, struct task_struct *task, pid_t old_pid, void *binary)
{
	pid_t tgid = task->tgid;
	u16 state;

	if (stap_is_over())
		return;
	state = READ_ONCE(stap_process_states[tgid]) & STAP_PROCESS_TARGET;
	if (tgid == stap_target_pid)
		state |= STAP_PROCESS_TARGET;
	state |= stap_program_number(task) * STAP_PROCESS_PROGRAM;
	if (stap_process_admit(tgid, state) && stap_is_running())
		stap_process_tell(STAP_PROCESS_BEGIN, tgid, state, NULL);
}

static void stap_thread_forked(struct task_struct *child)
{
	u16 state = READ_ONCE(stap_process_states[child->tgid]);

	if (!(state & STAP_PROCESS_KNOWN) || !stap_process_events(STAP_THREAD_BEGIN))
		return;
	stap_process_take(child->pid, STAP_PROCESS_AWAITED); /* left by one of the same number */
	if (stap_is_running()) {
		stap_process_tell(STAP_THREAD_BEGIN, child->tgid, state, child);
	} else {
		stap_process_change(child->pid, 0, STAP_PROCESS_AWAITED);
		atomic_inc(&stap_pending_count);
	}
}

static void stap_process_forks(void *data, struct task_struct *parent, struct task_struct *child)
{
	u16 state;

	if (stap_is_over() || !stap_is_users(child))
		return;
	if (child->pid != child->tgid) {
		stap_thread_forked(child);
		return;
	}
	if (!child->mm)
		return;
	state = READ_ONCE(stap_process_states[parent->tgid]) & STAP_PROCESS_TARGET;
	state |= stap_program_number(child) * STAP_PROCESS_PROGRAM;
	if (stap_process_admit(child->tgid, state) && stap_is_running())
		stap_process_tell(STAP_PROCESS_BEGIN, child->tgid, state, child);
}

/* The current task ends; it has given its memory away. */
static void stap_process_exits(void *data, struct task_struct *task)
{
	pid_t tgid = task->tgid, tid = task->pid;
	u16 state = READ_ONCE(stap_process_states[tgid]);

	if (stap_is_over() || !(state & STAP_PROCESS_KNOWN) || !stap_is_users(task))
		return;
	if (stap_is_running()) {
		stap_process_tell_pending(tgid, tid);
		if (tid != tgid)
			stap_process_tell(STAP_THREAD_END, tgid, state, NULL);
	}
	if (atomic_read(&task->signal->live))
		return;
	/* Two threads that end at the same time may both see that none is left. */
	if (!(stap_process_change(tgid, 0, STAP_PROCESS_ENDED) & STAP_PROCESS_ENDED) &&
	    stap_is_running())
		stap_process_tell(STAP_PROCESS_END, tgid, state, NULL);
}

/* Nobody, not even a thread that was slow to end, asks any more. */
static void stap_process_freed(void *data, struct task_struct *task)
{
	pid_t tgid = task->tgid;
	u16 before, state = READ_ONCE(stap_process_states[tgid]);

	/* Without the bit it belongs to a new process of the same number. */
	if (task->pid != tgid || !(state & STAP_PROCESS_ENDED))
		return;
	before = stap_process_change(tgid, 0xffff, 0);
	if (before & STAP_PROCESS_PENDING)
		atomic_dec(&stap_pending_count);
}

/* The current task leaves the CPU. */
static void stap_process_switches(void *data)
{
	if (atomic_read(&stap_pending_count) && stap_is_running())
		stap_process_tell_pending(current->tgid, current->pid);
}

/* ---- what runs already ---- */

static bool stap_descends_from_target(struct task_struct *task)
{
	for (; task->pid; task = rcu_dereference(task->real_parent))
		if (task->tgid == stap_target_pid)
			return true;
	return false;
}

static void stap_process_found(struct task_struct *task)
{
	pid_t tgid = task->tgid, tid = task->pid;
	u16 state = 0;

	if (!stap_is_users(task) || (task->flags & PF_EXITING) || !READ_ONCE(task->mm))
		return;
	if (stap_target_pid && stap_descends_from_target(task))
		state = STAP_PROCESS_TARGET;
	state |= stap_program_number(task) * STAP_PROCESS_PROGRAM;
	if (!stap_process_wanted(tgid, state))
		return;
	state |= STAP_PROCESS_KNOWN;
	/* The command of -c is held: it has not begun. */
	state |= stap_target_held && tgid == stap_target_pid ? STAP_PROCESS_HELD :
							       STAP_PROCESS_PENDING;
	if (!cmpxchg(&stap_process_states[tgid], 0, state) && (state & STAP_PROCESS_PENDING))
		atomic_inc(&stap_pending_count);
	if (tid != tgid && stap_process_events(STAP_THREAD_BEGIN) &&
	    !(stap_process_change(tid, 0, STAP_PROCESS_AWAITED) & STAP_PROCESS_AWAITED))
		atomic_inc(&stap_pending_count);
}

static struct stap_tracepoint_probe stap_process_points[] = {
	{ .name = "sched_process_exec", .function = stap_process_execs },
	{ .name = "sched_process_fork", .function = stap_process_forks },
	{ .name = "sched_process_exit", .function = stap_process_exits },
	{ .name = "sched_process_free", .function = stap_process_freed },
	{ .name = "sched_switch", .function = stap_process_switches },
};

static int stap_processes_start(void)
{
	struct task_struct *process, *thread;
	int error;

	if (stap_processes.file_count >= 0xffff / STAP_PROCESS_PROGRAM)
		return -E2BIG;
	stap_process_states = vzalloc(array_size(PID_MAX_LIMIT, sizeof(*stap_process_states)));
	if (!stap_process_states)
		return -ENOMEM;
	error = stap_tracepoints_start(stap_process_points, ARRAY_SIZE(stap_process_points));
	if (error)
		return error;
	rcu_read_lock();
	for_each_process_thread(process, thread)
		stap_process_found(thread);
	rcu_read_unlock();
	return 0;
}

static void stap_processes_stop(void)
{
	stap_tracepoints_stop(stap_process_points, ARRAY_SIZE(stap_process_points));
}

#endif
