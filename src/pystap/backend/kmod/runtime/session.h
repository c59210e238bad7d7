/* A session: its probes, its phases, and what becomes of a hit. */
#ifndef PYSTAP_SESSION_H
#define PYSTAP_SESSION_H

#include "lock.h"
#include "order.h"
#include "regex.h"

enum phase { STARTING, RUNNING, STOPPING, FAILED };

/* What goes out beside the script's own output. */
enum message { MESSAGE_OUTPUT, MESSAGE_ERROR, MESSAGE_WARNING, MESSAGE_COMMAND };

struct probe {
	const char *point, *name, *function, *kind;
	bool is_return;
	void (*handler)(struct context *c);
	s64 (*condition)(struct context *c); /* NULL: always */
};

static const struct probe probes[];
static const char *const positions[];

static atomic_t session_phase = ATOMIC_INIT(STARTING);
static atomic_t session_errors = ATOMIC_INIT(0); /* that count against MAXERRORS */
static atomic_t session_suppressed = ATOMIC_INIT(0);
static atomic_t session_skipped = ATOMIC_INIT(0);

static void transport_message(enum message kind, const char *text, size_t size, bool more);
static struct context *context_here(void);

static void output_flush(struct context *c, bool more)
{
	transport_message(MESSAGE_OUTPUT, c->output, c->out.at - c->output, more);
	c->out.at = c->output;
	c->more = more;
}

static void session_fail(void)
{
	atomic_set(&session_phase, FAILED);
}

/* exit(): no more ordinary probes. */
static void session_exit(void)
{
	atomic_cmpxchg(&session_phase, STARTING, STOPPING);
	atomic_cmpxchg(&session_phase, RUNNING, STOPPING);
}

static void session_abort(struct context *c)
{
	session_exit();
	c->ending = ABORTED;
}

static void warn(const char *text)
{
	size_t size = strlen(text);

	if (size && text[size - 1] == '\n')
		size--;
	transport_message(MESSAGE_WARNING, text, size, false);
}

static void system_command(const char *text)
{
	transport_message(MESSAGE_COMMAND, text, strlen(text), false);
}

/* What the user reads of a fault: MSG near TOKEN at PLACE (called from ...) in probe POINT. */
static void report_fault(struct context *c)
{
	struct sink s = sink_of(c->report, REPORT_SIZE);
	int at;

	if (SUPPRESS_HANDLER_ERRORS) {
		atomic_inc(&session_suppressed);
		return;
	}
	put_text(&s, c->message);
	if (c->position >= 0) {
		put_text(&s, " near ");
		put_text(&s, positions[c->position]);
		for (at = c->fault_depth; at-- > 0;) {
			put_text(&s, " (called from ");
			put_text(&s, positions[c->callers[at]]);
			put_text(&s, ")");
		}
		put_text(&s, " in probe ");
		put_text(&s, probes[c->probe].point);
	}
	transport_message(MESSAGE_ERROR, c->report, s.at - c->report, false);
	if (atomic_inc_return(&session_errors) > MAXERRORS)
		session_fail();
}

static void count_skip(void)
{
	static const char text[] =
		"Skipped too many probes, check MAXSKIPPED or try again with stap -t for more "
		"details.";

	if (atomic_inc_return(&session_skipped) == MAXSKIPPED + 1) {
		transport_message(MESSAGE_ERROR, text, sizeof(text) - 1, false);
		session_fail();
	}
}

/* One hit of a probe. */
static void probe_run(int index, const struct event *event)
{
	struct context *c = context_here();

	if (atomic_cmpxchg(&c->busy, 0, 1)) {
		count_skip();
		return;
	}
	c->probe = index;
	c->event = event;
	c->ending = RUNNING_ON;
	c->passed = 0;
	c->actions = MAXACTION;
	c->depth = 0;
	c->arena_used = c->order_used = 0;
	c->more = false;
	c->match.state = 0;
	if (!probes[index].condition || probes[index].condition(c))
		probes[index].handler(c);
	if (c->out.at != c->output || c->more)
		output_flush(c, false);
	if (c->ending == FAULT)
		report_fault(c);
	else if (c->ending == SKIPPED)
		count_skip();
	atomic_set(&c->busy, 0);
}

/* A hit of an ordinary probe: they run only while the session does. */
static void __maybe_unused probe_hit(int index, const struct event *event)
{
	if (likely(atomic_read(&session_phase) == RUNNING))
		probe_run(index, event);
}

/* The probes of one kind of session event, in order, as long as the session stays in a phase. */
static void session_probes(const u16 *indexes, int count, enum phase phase)
{
	static const struct event nothing;
	int i;

	for (i = 0; i < count && atomic_read(&session_phase) == phase; i++)
		probe_run(indexes[i], &nothing);
}

static int context_create(struct context *c)
{
	c->arena = memory_get(ARENA_SIZE);
	c->output = memory_get(OUTPUT_SIZE);
	c->report = memory_get(REPORT_SIZE);
	c->order = memory_get((ORDER_SIZE + 1) * sizeof(*c->order));
	if (!c->arena || !c->output || !c->report || !c->order)
		return -ENOMEM;
	c->out.at = c->output;
	c->out.end = c->output + OUTPUT_SIZE;
	c->out.flush = c;
	return 0;
}

static void context_destroy(struct context *c)
{
	memory_put(c->arena);
	memory_put(c->output);
	memory_put(c->report);
	memory_put(c->order);
}

#endif
