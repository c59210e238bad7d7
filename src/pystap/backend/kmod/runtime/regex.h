/* Walking the tables of regular expressions. */
#ifndef PYSTAP_REGEX_H
#define PYSTAP_REGEX_H

#include "string_ops.h"

struct dfa {
	const u8 *class_of;
	const u16 *table;
	const u8 *at_end;
	u32 classes, start;
};

/* Whether a string holds a match. */
static s64 dfa_search(const struct dfa *d, const char *text)
{
	u32 state = d->start;

	for (; *text; text++) {
		if (state <= 1)
			return state;
		state = d->table[state * d->classes + d->class_of[(u8)*text]];
	}
	return state == 1 || d->at_end[state];
}

struct tagged_dfa {
	const u8 *class_of;
	const u16 *table, *actions;
	const s16 *accept, *at_end;
	const u16 *moves_at; /* where each list of moves begins; one more at the end */
	const s16 (*moves)[2];
	u32 classes, start, start_moves, groups;
};

static void tagged_moves(const struct tagged_dfa *d, s32 *registers, u32 list, s32 offset)
{
	u32 i;

	for (i = d->moves_at[list]; i < d->moves_at[list + 1]; i++) {
		int from = d->moves[i][1];

		registers[d->moves[i][0]] = from == -1 ? offset : from == -2 ? -1 : registers[from];
	}
}

/* The leftmost longest match and its groups, kept in the context. */
static s64 tagged_search(struct context *c, const struct tagged_dfa *d, const char *text)
{
	s32 *registers = c->registers;
	u32 state = d->start;
	s32 at = 0;

	copy_string(c->match.subject, text, MAXSTRINGLEN);
	text = c->match.subject;
	c->match.state = 1;
	c->match.groups = d->groups;
	tagged_moves(d, registers, d->start_moves, 0);
	for (;;) {
		u32 cell;
		s32 found = text[at] ? d->accept[state] : d->at_end[state];

		if (found >= 0) {
			tagged_moves(d, registers, found, at);
			memcpy(c->match.at, registers, 2 * d->groups * sizeof(s32));
			c->match.state = 2;
		}
		if (!text[at])
			break;
		cell = state * d->classes + d->class_of[(u8)text[at++]];
		tagged_moves(d, registers, d->actions[cell], at);
		state = d->table[cell];
		if (state == 0)
			break;
	}
	return c->match.state == 2;
}

static void matched(struct context *c, char *to, u32 size, s64 group, int position)
{
	s32 begin, end;

	*to = 0;
	if (c->match.state != 2) {
		fault(c, position, "Attempted to get subexpression from failed match");
	} else if (group < 0 || group >= c->match.groups) {
		fault_number(c, position, "Attempted to get nonexistent subexpression ", group,
			     'd', "");
	} else {
		begin = c->match.at[2 * group];
		end = c->match.at[2 * group + 1];
		if (begin >= 0 && end > begin)
			substr(to, size, c->match.subject, begin, end - begin);
	}
}

static s64 ngroups(struct context *c, int position)
{
	if (c->match.state == 2)
		return c->match.groups;
	fault(c, position, "Attempted to get subexpression from failed match");
	return 0;
}

#endif
