/* A session: its probes, its phases, and what becomes of a hit. */
#ifndef PYSTAP_SESSION_H
#define PYSTAP_SESSION_H

#include "lock.h"
#include "order.h"
#include "regex.h"
#include "timing.h"

enum stap_phase { STAP_STARTING, STAP_RUNNING, STAP_STOPPING, STAP_FAILED };

/* What goes out beside the script's own output. */
enum stap_message { STAP_MESSAGE_OUTPUT, STAP_MESSAGE_ERROR, STAP_MESSAGE_WARNING, STAP_MESSAGE_COMMAND };

struct stap_probe {
	const char *point, *name, *function, *kind;
	bool is_return;
	void (*handler)(struct stap_context *c);
	s64 (*condition)(struct stap_context *c); /* NULL: always */
	bool quick; /* the condition needs no context */
};

enum stap_session_event { STAP_INIT, STAP_BEGIN, STAP_END, STAP_ERROR };

struct proc_dir_entry;

/* Of which programs a script wants tables; lists end with NULL. */
struct stap_wanted_objects {
	bool stacks, places, libraries;
	const char *const *probed, *const *named;
	int (*create)(struct proc_dir_entry *directory);
	void (*destroy)(void);
};

/* Something of the kernel's that has an address. */
struct stap_symbol {
	const char *name; /* MODULE:SYMBOL in a module */
	int number; /* of several of the name, as the module's table has them; -1: there is but one */
	u64 address; /* 0: not known, or its module is not there */
};

struct stap_script {
	const struct stap_probe *probes;
	u32 probe_count;
	const char *const *labels; /* of probes, for the report */
	const char *const *lock_names;
	const struct stap_lock *locks;
	u32 lock_count;
	const char *const *positions;
	struct {
		const u16 *indexes;
		u32 count;
	} session_probes[4]; /* of each enum stap_session_event, in their order */
	u32 arena_size; /* bytes for the variables of all that can run at once */
	u32 order_size; /* elements that all loops together can go over */
	int (*create)(void);
	void (*destroy)(void);
	struct stap_place *const *places; /* that the session's process finds; NULL behind the last */
	struct stap_symbol *symbols; /* that handlers ask for */
	u32 symbol_count;
	u32 sleepers; /* for each CPU: contexts that may wait for memory */
	const struct stap_wanted_objects *objects; /* NULL: none */
	int (*start)(void); /* all other probes */
	void (*stop)(void);
};

/* A module may hold several, of which one runs. */
static const struct stap_script *stap_script;

static atomic_t stap_session_phase = ATOMIC_INIT(STAP_STARTING);
static atomic_t stap_session_errors = ATOMIC_INIT(0); /* that count against MAXERRORS */
static atomic_t stap_session_suppressed = ATOMIC_INIT(0);
static atomic_t stap_session_skipped = ATOMIC_INIT(0);
static atomic_t stap_session_reentrant = ATOMIC_INIT(0); /* of these */

/* What becomes of the packet. */
static s64 __maybe_unused stap_set_verdict(struct stap_context *c, s64 verdict)
{
	if (c->event->verdict)
		*c->event->verdict = verdict;
	return verdict;
}

/* Where a symbol is, or a run-time error. */
static s64 __maybe_unused stap_symbol_address(struct stap_context *c,
					      const struct stap_symbol *symbol, int position)
{
	u64 address = READ_ONCE(symbol->address);

	if (unlikely(!address)) {
		struct stap_sink s = stap_sink_of(c->message, STAP_MESSAGE_SIZE);

		stap_put_text(&s, "where ");
		stap_put_text(&s, symbol->name);
		stap_put_text(&s, " was loaded is not known");
		stap_sink_close(&s);
		stap_context_fault(c, position);
	}
	return address;
}

static void stap_transport_message(enum stap_message kind, const char *text, size_t size, bool more);
static struct stap_context *stap_context_here(void);
static struct stap_context *stap_context_sleeper(void); /* taken; NULL: there is none */
static bool stap_may_wait(bool may); /* whether reads wait for memory from now on; if they did */

static void stap_output_flush(struct stap_context *c, bool more)
{
	stap_transport_message(STAP_MESSAGE_OUTPUT, c->output, c->out.at - c->output, more);
	c->out.at = c->output;
	c->more = more;
}

static void stap_session_fail(void)
{
	atomic_set(&stap_session_phase, STAP_FAILED);
}

/* exit(): no more ordinary probes. */
static void stap_session_exit(void)
{
	atomic_cmpxchg(&stap_session_phase, STAP_STARTING, STAP_STOPPING);
	atomic_cmpxchg(&stap_session_phase, STAP_RUNNING, STAP_STOPPING);
}

static void stap_session_abort(struct stap_context *c)
{
	stap_session_exit();
	c->ending = STAP_ABORTED;
}

static void stap_warn(const char *text)
{
	size_t size = strlen(text);

	if (size && text[size - 1] == '\n')
		size--;
	stap_transport_message(STAP_MESSAGE_WARNING, text, size, false);
}

static void stap_system_command(const char *text)
{
	stap_transport_message(STAP_MESSAGE_COMMAND, text, strlen(text), false);
}

/* What the user reads of a fault: MSG near TOKEN at PLACE (called from ...) in probe POINT. */
static void stap_report_fault(struct stap_context *c)
{
	struct stap_sink s = stap_sink_of(c->report, STAP_REPORT_SIZE);
	int at;

	if (SUPPRESS_HANDLER_ERRORS) {
		atomic_inc(&stap_session_suppressed);
		return;
	}
	stap_put_text(&s, c->message);
	if (c->position >= 0) {
		stap_put_text(&s, " near ");
		stap_put_text(&s, stap_script->positions[c->position]);
		for (at = c->fault_depth; at-- > 0;) {
			stap_put_text(&s, " (called from ");
			stap_put_text(&s, stap_script->positions[c->callers[at]]);
			stap_put_text(&s, ")");
		}
		stap_put_text(&s, " in probe ");
		stap_put_text(&s, stap_script->probes[c->probe].point);
	}
	stap_transport_message(STAP_MESSAGE_ERROR, c->report, s.at - c->report, false);
	if (atomic_inc_return(&stap_session_errors) > MAXERRORS)
		stap_session_fail();
}

/* A hit is skipped, for want of a context (the CPU is in a handler already) or of a lock. */
static void stap_count_skip(bool reentrant)
{
	static const char text[] =
		"Skipped too many probes, check MAXSKIPPED or try again with stap -t for more "
		"details.";
	static atomic_t against_limit = ATOMIC_INIT(0);

	atomic_inc(&stap_session_skipped);
	if (reentrant)
		atomic_inc(&stap_session_reentrant);
	if (SUPPRESS_HANDLER_ERRORS || (reentrant && INTERRUPTIBLE))
		return;
	if (atomic_inc_return(&against_limit) == MAXSKIPPED + 1) {
		stap_transport_message(STAP_MESSAGE_ERROR, text, sizeof(text) - 1, false);
		stap_session_fail();
	}
}

/* The handlers of a CPU take too much of its time: the session ends. */
static void stap_report_overload(struct stap_context *c)
{
	struct stap_sink s = stap_sink_of(c->report, STAP_REPORT_SIZE);

	if (atomic_cmpxchg(&stap_session_phase, STAP_RUNNING, STAP_FAILED) != STAP_RUNNING)
		return;
	stap_put_text(&s, "probe overhead (");
	stap_put_long(&s, c->load_spent);
	stap_put_text(&s, " cycles) exceeded threshold (");
	stap_put_long(&s, STP_OVERLOAD_THRESHOLD);
	stap_put_text(&s, " cycles) in last ");
	stap_put_long(&s, c->load_interval);
	stap_put_text(&s, " cycles");
	stap_transport_message(STAP_MESSAGE_ERROR, c->report, s.at - c->report, false);
	atomic_inc(&stap_session_errors);
}

/* The times of a run, for the report and against overload. */
static void stap_run_timed(struct stap_context *c, int index, u64 start, u64 cycles, bool ran)
{
	if (STAP_TIMING && ran)
		stap_hits_add(&stap_hits[stap_this_cpu() * stap_script->probe_count + index],
			      stap_clock() - start);
	if (STP_OVERLOAD_INTERVAL && atomic_read(&stap_session_phase) == STAP_RUNNING &&
	    stap_overloads(c, cycles, stap_clock_cycles()))
		stap_report_overload(c);
}

/* One hit of a probe. */
static void stap_probe_run(int index, const struct stap_event *event)
{
	const struct stap_probe *probe = &stap_script->probes[index];
	bool sleeps, slept, ran = false;
	struct stap_context *c = NULL;
	u64 start = 0, cycles = 0;

	if (probe->quick && !probe->condition(NULL))
		return;
	if (event->may_fault)
		c = stap_context_sleeper();
	sleeps = c;
	if (!c)
		c = stap_context_here();
	if (!sleeps && atomic_cmpxchg(&c->busy, 0, 1)) {
		stap_count_skip(true);
		return;
	}
	if (STAP_TIMING)
		start = stap_clock();
	if (STP_OVERLOAD_INTERVAL)
		cycles = stap_clock_cycles();
	c->probe = index;
	c->event = event;
	c->ending = STAP_RUNNING_ON;
	c->passed = 0;
	c->actions = MAXACTION;
	c->depth = 0;
	c->arena_used = c->order_used = 0;
	c->more = false;
	c->match.state = 0;
	c->stack_count = -1;
	c->user_stack.known = false;
	slept = stap_may_wait(sleeps);
	if (probe->quick || !probe->condition || probe->condition(c)) {
		ran = true;
		if (STAP_TIMING != 3)
			probe->handler(c);
	}
	if (c->out.at != c->output || c->more)
		stap_output_flush(c, false);
	if (c->ending == STAP_FAULT)
		stap_report_fault(c);
	else if (c->ending == STAP_SKIPPED)
		stap_count_skip(false);
	stap_may_wait(slept);
	if (STAP_TIMED && !sleeps)
		stap_run_timed(c, index, start, cycles, ran && c->ending != STAP_SKIPPED);
	atomic_set(&c->busy, 0);
}

/* A hit of an ordinary probe: they run only while the session does. */
static void __maybe_unused stap_probe_hit(int index, const struct stap_event *event)
{
	if (likely(atomic_read(&stap_session_phase) == STAP_RUNNING))
		stap_probe_run(index, event);
}

/* The probes of a session event, in order, as long as the session stays in a phase. */
static void stap_session_probes(enum stap_session_event kind, enum stap_phase phase)
{
	static const struct stap_event nothing = { .of_session = true };
	const u16 *indexes = stap_script->session_probes[kind].indexes;
	u32 i, count = stap_script->session_probes[kind].count;

	for (i = 0; i < count && atomic_read(&stap_session_phase) == phase; i++)
		stap_probe_run(indexes[i], &nothing);
}

static int stap_context_create(struct stap_context *c)
{
	c->arena = stap_memory_get(stap_script->arena_size);
	c->output = stap_memory_get(STAP_OUTPUT_SIZE);
	c->report = stap_memory_get(STAP_REPORT_SIZE);
	c->order = stap_memory_get((stap_script->order_size + 1) * sizeof(*c->order));
	if (!c->arena || !c->output || !c->report || !c->order)
		return -ENOMEM;
	c->out.at = c->output;
	c->out.end = c->output + STAP_OUTPUT_SIZE;
	c->out.flush = c;
	return 0;
}

static void stap_context_destroy(struct stap_context *c)
{
	stap_memory_put(c->arena);
	stap_memory_put(c->output);
	stap_memory_put(c->report);
	stap_memory_put(c->order);
}

#endif
