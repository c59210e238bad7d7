/* The context of a running handler: one for each CPU, never two handlers at once in it. */
#ifndef PYSTAP_CONTEXT_H
#define PYSTAP_CONTEXT_H

#include "platform.h"

/* Why a handler is being left early.  Only a fault can be caught. */
enum ending { RUNNING_ON, FAULT, ABORTED, SKIPPED };

#define OUTPUT_SIZE 8192 /* of one record */
#define NO_POSITION -1
#define MESSAGE_SIZE (MAXSTRINGLEN + 256)
#define REPORT_SIZE (MESSAGE_SIZE + 4096)

struct sink {
	char *at;
	char *end; /* one byte before the end of the memory is kept for a NUL */
	struct context *flush; /* whose output this is; NULL: what does not fit is dropped */
};

struct sorted {
	s64 value;
	struct map_node *node;
};

struct match {
	int state; /* of the last search: 0 none yet, 1 failed, 2 found */
	int groups;
	s32 at[2 * MAX_GROUPS];
	char subject[MAXSTRINGLEN];
};

struct context {
	atomic_t busy;
	int probe;
	int ending;
	int passed; /* a function has ended by "next" */
	s64 actions;
	const struct event *event;

	int position; /* of the fault */
	int fault_depth;
	int depth; /* of calls */
	int callers[MAXNESTING + 1];
	char message[MESSAGE_SIZE];
	char *report; /* REPORT_SIZE bytes to word the fault in */

	char *arena; /* memory of handlers and functions */
	u32 arena_used;

	struct sink out;
	bool more; /* a part of this handler's output is on its way */
	char *output;

	struct sorted *order; /* of all loops that sort, one behind another */
	u32 order_used;

	struct match match;
	s32 registers[MAX_REGISTERS]; /* of a regular expression */
	char tokens[MAXSTRINGLEN];
	u32 tokens_at;
};

/* What brought a handler here. */
struct event {
	const u64 *args;
	void *regs;
	s64 number;
	s64 result;
};

static void context_fault(struct context *c, int position)
{
	c->ending = FAULT;
	c->position = position;
	c->fault_depth = c->depth;
}

/* A run-time error with a fixed text. */
static void fault(struct context *c, int position, const char *message)
{
	size_t size = strlen(message);

	if (size > MESSAGE_SIZE - 1)
		size = MESSAGE_SIZE - 1;
	memcpy(c->message, message, size);
	c->message[size] = 0;
	context_fault(c, position);
}

/* A call from a position begins; false when calls are too deep. */
static bool call_begin(struct context *c, int position)
{
	if (unlikely(c->depth >= MAXNESTING)) {
		fault(c, position, "MAXNESTING exceeded");
		return false;
	}
	c->callers[c->depth++] = position;
	return true;
}

static void call_end(struct context *c)
{
	c->depth--;
}

/* Memory for the variables of a function; what a program can need at most is there. */
static void *frame_begin(struct context *c, u32 size)
{
	void *at = c->arena + c->arena_used;

	c->arena_used += (size + 7) & ~7u;
	return at;
}

static void frame_end(struct context *c, u32 size)
{
	c->arena_used -= (size + 7) & ~7u;
}

/* Statements are about to run; false when there were too many. */
static bool take_actions(struct context *c, s64 count, int position)
{
	c->actions -= count;
	if (likely(c->actions >= 0))
		return true;
	fault(c, position, "MAXACTION exceeded");
	return false;
}

#endif
