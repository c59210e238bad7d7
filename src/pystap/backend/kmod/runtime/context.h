/* The context of a running handler: one for each CPU, never two handlers at once in it. */
#ifndef PYSTAP_CONTEXT_H
#define PYSTAP_CONTEXT_H

#include "platform.h"

/* Why a handler is being left early.  Only a fault can be caught. */
enum stap_ending { STAP_RUNNING_ON, STAP_FAULT, STAP_ABORTED, STAP_SKIPPED };

#define STAP_OUTPUT_SIZE 8192 /* of one record */
#define STAP_NO_POSITION -1
#define STAP_STACK_FRAMES 32
#define STAP_MESSAGE_SIZE (MAXSTRINGLEN + 256)
#define STAP_REPORT_SIZE (STAP_MESSAGE_SIZE + 4096)

struct stap_sink {
	char *at;
	char *end; /* one byte before the end of the memory is kept for a NUL */
	struct stap_context *flush; /* whose output this is; NULL: what does not fit is dropped */
};

struct stap_sorted {
	s64 value;
	struct stap_map_node *node;
};

struct stap_match {
	int state; /* of the last search: 0 none yet, 1 failed, 2 found */
	int groups;
	s32 at[2 * MAX_GROUPS];
	char subject[MAXSTRINGLEN];
};

/* The user-space stack: what was unwound for the present hit. */
struct stap_user_stack {
	bool known;
	u32 count;
	u64 frames[MAXBACKTRACE];
};

/* What is known of a user-space address; texts are NULL where they are not. */
struct stap_user_place {
	u64 address, base; /* base: from an address to its offset in the file */
	const struct stap_object *object; /* its table */
	const char *name, *module, *file, *inlined_name, *inlined_file;
	u64 offset, size, module_offset, module_size, line;
	u64 inlined_offset, inlined_size, inlined_line;
	u64 call; /* 1 + index of the next inlined function, 0 behind the last */
};

struct stap_context {
	atomic_t busy;
	int probe;
	int ending;
	int passed; /* a function has ended by "next" */
	s64 actions;
	const struct stap_event *event;

	u64 watched_since, watched_spent; /* of this CPU's handlers */
	u64 load_spent, load_interval; /* when that was too much */

	int position; /* of the fault */
	int fault_depth;
	int depth; /* of calls */
	int callers[MAXNESTING + 1];
	char message[STAP_MESSAGE_SIZE];
	char *report; /* REPORT_SIZE bytes to word the fault in */

	char *arena; /* memory of handlers and functions */
	u32 arena_used;

	struct stap_sink out;
	bool more; /* a part of this handler's output is on its way */
	char *output;

	struct stap_sorted *order; /* of all loops that sort, one behind another */
	u32 order_used;

	struct stap_match match;
	s32 registers[MAX_REGISTERS]; /* of a regular expression */
	char tokens[MAXSTRINGLEN];
	u32 tokens_at;

	int stack_count; /* frames of the event's stack, below 0 when nobody has asked yet */
	unsigned long stack[STAP_STACK_FRAMES];
	struct stap_user_stack user_stack;
	struct stap_user_place user_place;
};

struct stap_file_text;

/* What brought a handler here. */
struct stap_event {
	const u64 *args;
	void *regs;
	s64 number;
	s64 result;
	u64 address; /* of the probe, when the registers are behind it; 0: where they are */
	void *task; /* the one it is about, when that is not the current one */
	struct stap_file_text *text; /* of a file of the session */
	s64 *verdict; /* on a packet */
	bool has_stack; /* the kernel stack that leads here is the event's */
	bool of_session; /* the session's own process runs the handler */
	bool may_fault; /* memory that is not there may be waited for */
};

static void stap_context_fault(struct stap_context *c, int position)
{
	c->ending = STAP_FAULT;
	c->position = position;
	c->fault_depth = c->depth;
}

/* A run-time error with a fixed text. */
static void stap_fault(struct stap_context *c, int position, const char *message)
{
	size_t size = strlen(message);

	if (size > STAP_MESSAGE_SIZE - 1)
		size = STAP_MESSAGE_SIZE - 1;
	memcpy(c->message, message, size);
	c->message[size] = 0;
	stap_context_fault(c, position);
}

/* A call from a position begins; false when calls are too deep. */
static bool stap_call_begin(struct stap_context *c, int position)
{
	if (unlikely(c->depth >= MAXNESTING)) {
		stap_fault(c, position, "MAXNESTING exceeded");
		return false;
	}
	c->callers[c->depth++] = position;
	return true;
}

static void stap_call_end(struct stap_context *c)
{
	c->depth--;
}

/* Memory for the variables of a function; what a program can need at most is there. */
static void *stap_frame_begin(struct stap_context *c, u32 size)
{
	void *at = c->arena + c->arena_used;

	c->arena_used += (size + 7) & ~7u;
	return at;
}

static void stap_frame_end(struct stap_context *c, u32 size)
{
	c->arena_used -= (size + 7) & ~7u;
}

/* Statements are about to run; false when there were too many. */
static bool stap_take_actions(struct stap_context *c, s64 count, int position)
{
	c->actions -= count;
	if (likely(c->actions >= 0))
		return true;
	stap_fault(c, position, "MAXACTION exceeded");
	return false;
}

#endif
