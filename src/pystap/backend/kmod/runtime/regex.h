/* Walking the tables of regular expressions. */
#ifndef PYSTAP_REGEX_H
#define PYSTAP_REGEX_H

#include "string_ops.h"

struct stap_dfa {
	const u8 *class_of;
	const u16 *table;
	const u8 *at_end;
	u32 classes, start;
};

/* Whether a string holds a match. */
static s64 stap_dfa_search(const struct stap_dfa *d, const char *text)
{
	u32 state = d->start;

	for (; *text; text++) {
		if (state <= 1)
			return state;
		state = d->table[state * d->classes + d->class_of[(u8)*text]];
	}
	return state == 1 || d->at_end[state];
}

struct stap_tagged_dfa {
	const u8 *class_of;
	const u16 *table, *actions;
	const s16 *accept, *at_end;
	const u16 *moves_at; /* where each list of moves begins; one more at the end */
	const s16 (*moves)[2];
	u32 classes, start, start_moves, groups;
};

static void stap_tagged_moves(const struct stap_tagged_dfa *d, s32 *registers, u32 list, s32 offset)
{
	u32 i;

	for (i = d->moves_at[list]; i < d->moves_at[list + 1]; i++) {
		int from = d->moves[i][1];

		registers[d->moves[i][0]] = from == -1 ? offset : from == -2 ? -1 : registers[from];
	}
}

/* The leftmost longest match and its groups, kept in the context. */
static s64 stap_tagged_search(struct stap_context *c, const struct stap_tagged_dfa *d, const char *text)
{
	s32 *registers = c->registers;
	u32 state = d->start;
	s32 at = 0;

	stap_copy_string(c->match.subject, text, MAXSTRINGLEN);
	text = c->match.subject;
	c->match.state = 1;
	c->match.groups = d->groups;
	stap_tagged_moves(d, registers, d->start_moves, 0);
	for (;;) {
		u32 cell;
		s32 found = text[at] ? d->accept[state] : d->at_end[state];

		if (found >= 0) {
			stap_tagged_moves(d, registers, found, at);
			memcpy(c->match.at, registers, 2 * d->groups * sizeof(s32));
			c->match.state = 2;
		}
		if (!text[at])
			break;
		cell = state * d->classes + d->class_of[(u8)text[at++]];
		stap_tagged_moves(d, registers, d->actions[cell], at);
		state = d->table[cell];
		if (state == 0)
			break;
	}
	return c->match.state == 2;
}

static void stap_matched(struct stap_context *c, char *to, u32 size, s64 group, int position)
{
	s32 begin, end;

	*to = 0;
	if (c->match.state != 2) {
		stap_fault(c, position, "Attempted to get subexpression from failed match");
	} else if (group < 0 || group >= c->match.groups) {
		stap_fault_number(c, position, "Attempted to get nonexistent subexpression ", group,
			     'd', "");
	} else {
		begin = c->match.at[2 * group];
		end = c->match.at[2 * group + 1];
		if (begin >= 0 && end > begin)
			stap_substr(to, size, c->match.subject, begin, end - begin);
	}
}

static s64 stap_ngroups(struct stap_context *c, int position)
{
	if (c->match.state == 2)
		return c->match.groups;
	stap_fault(c, position, "Attempted to get subexpression from failed match");
	return 0;
}

#endif
