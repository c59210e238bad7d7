/* Names of numbers. */
#ifndef PYSTAP_TABLES_H
#define PYSTAP_TABLES_H

#include "string_ops.h"

struct stap_name {
	s64 number;
	const char *text;
};

struct stap_name_table {
	const struct stap_name *names; /* one for each number */
	u32 name_count;
	const struct stap_name *numbers; /* one for each name */
	u32 number_count;
};

struct stap_flag {
	u64 mask, value;
	const char *text;
};

struct stap_flag_table {
	const struct stap_flag *flags;
	u32 count;
	const char *zero;
};

static void __maybe_unused stap_table_text(char *to, u32 size, const struct stap_name_table *t, s64 number)
{
	u32 i;

	*to = 0;
	for (i = 0; i < t->name_count; i++)
		if (t->names[i].number == number) {
			stap_copy_string(to, t->names[i].text, size);
			return;
		}
}

static s64 __maybe_unused stap_table_number(const struct stap_name_table *t, const char *name)
{
	u32 i;

	for (i = 0; i < t->number_count; i++)
		if (!strcmp(t->numbers[i].text, name))
			return t->numbers[i].number;
	return -1;
}

static void stap_put_octal(struct stap_sink *s, u64 value)
{
	stap_put_number(s, value, 'o', value ? '#' : 0, 0, -1);
}

/* A|B|0x40: the flags set, then the bits without a name; these in octal if so asked. */
static void stap_put_flags(struct stap_sink *s, const struct stap_flag_table *t, s64 value, bool octal)
{
	u64 rest = value;
	bool any = false;
	u32 i;

	for (i = 0; i < t->count; i++) {
		const struct stap_flag *f = &t->flags[i];

		if (((u64)value & f->mask) != f->value || (!(rest & f->mask) && f->value))
			continue;
		if (any)
			stap_put_text(s, "|");
		any = true;
		stap_put_text(s, f->text);
		rest &= ~f->mask;
	}
	if (any && rest)
		stap_put_text(s, "|");
	if (octal && (rest || !any))
		stap_put_octal(s, rest);
	else if (rest)
		stap_put_number(s, rest, 'x', '#', 0, -1);
	else if (!any)
		stap_put_text(s, t->zero);
}

static void __maybe_unused stap_flags_text(char *to, u32 size, const struct stap_flag_table *t, s64 value)
{
	struct stap_sink s = stap_sink_of(to, size);

	stap_put_flags(&s, t, value, false);
	stap_sink_close(&s);
}

#endif
