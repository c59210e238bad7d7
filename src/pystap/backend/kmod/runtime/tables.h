/* Names of numbers. */
#ifndef PYSTAP_TABLES_H
#define PYSTAP_TABLES_H

#include "string_ops.h"

struct name {
	s64 number;
	const char *text;
};

struct name_table {
	const struct name *names; /* one for each number */
	u32 name_count;
	const struct name *numbers; /* one for each name */
	u32 number_count;
};

struct flag {
	u64 mask, value;
	const char *text;
};

struct flag_table {
	const struct flag *flags;
	u32 count;
	const char *zero;
};

static void __maybe_unused table_text(char *to, u32 size, const struct name_table *t, s64 number)
{
	u32 i;

	*to = 0;
	for (i = 0; i < t->name_count; i++)
		if (t->names[i].number == number) {
			copy_string(to, t->names[i].text, size);
			return;
		}
}

static s64 __maybe_unused table_number(const struct name_table *t, const char *name)
{
	u32 i;

	for (i = 0; i < t->number_count; i++)
		if (!strcmp(t->numbers[i].text, name))
			return t->numbers[i].number;
	return -1;
}

/* A|B|0x40: the flags set, then the bits without a name. */
static void __maybe_unused flags_text(char *to, u32 size, const struct flag_table *t, s64 value)
{
	struct sink s = sink_of(to, size);
	u64 rest = value;
	u32 i;

	for (i = 0; i < t->count; i++) {
		const struct flag *f = &t->flags[i];

		if (((u64)value & f->mask) != f->value || (!(rest & f->mask) && f->value))
			continue;
		if (s.at != to)
			put_text(&s, "|");
		put_text(&s, f->text);
		rest &= ~f->mask;
	}
	if (rest) {
		if (s.at != to)
			put_text(&s, "|");
		put_number(&s, rest, 'x', '#', 0, -1);
	}
	if (s.at == to)
		put_text(&s, t->zero);
	sink_close(&s);
}

#endif
