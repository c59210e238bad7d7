/* System calls: names, arguments and results as text, by tables of the script's module. */
#ifndef PYSTAP_SYSCALLS_H
#define PYSTAP_SYSCALLS_H

#include "memory.h"
#include "tables.h"

#define STAP_SYSCALL_SLOTS 512
#define STAP_POINT_NAME (1 << 16) /* above the number: its name in probe points is wanted */
#define STAP_ARGUMENT_SHIFT 16 /* above the number: one argument alone, its index plus one */
#define STAP_PATH_BYTES 255
#define STAP_ARGV_BYTES 64
#define STAP_ARGV_STRINGS 16
#define STAP_ENVP_STRINGS 512
#define STAP_BUFFER_BYTES 32
#define STAP_UNIX_BYTES 110
#define STAP_MAKES_FILE (0100 | 020000000) /* O_CREAT, and the bit of O_TMPFILE */

enum {
	STAP_FAMILY_UNIX = 1,
	STAP_FAMILY_INET = 2,
	STAP_FAMILY_INET6 = 10,
	STAP_FAMILY_NETLINK = 16,
};

enum stap_syscall_kind {
	STAP_KIND_NONE, STAP_KIND_INT, STAP_KIND_UINT, STAP_KIND_LONG, STAP_KIND_ULONG,
	STAP_KIND_HEX, STAP_KIND_PTR, STAP_KIND_OCT, STAP_KIND_PATH, STAP_KIND_BUF,
	STAP_KIND_DIRFD, STAP_KIND_FLAGS, STAP_KIND_OFLAGS, STAP_KIND_ENUM, STAP_KIND_SOCKOPT,
	STAP_KIND_PROTOCOL, STAP_KIND_OPENMODE, STAP_KIND_SOCKADDR, STAP_KIND_TIMESPEC,
	STAP_KIND_TIMESPEC2, STAP_KIND_TIMEVAL, STAP_KIND_TIMEVAL2, STAP_KIND_ITIMERSPEC,
	STAP_KIND_ITIMERVAL, STAP_KIND_SIGSET, STAP_KIND_SIGACTION, STAP_KIND_RLIMIT,
	STAP_KIND_ARGV, STAP_KIND_ENVP,
};

enum stap_syscall_result { STAP_RESULT_INT, STAP_RESULT_PTR, STAP_RESULT_OCT, STAP_RESULT_ULONG };

struct stap_syscall_argument {
	u8 kind;
	bool narrow; /* only 32 bits count */
	u8 other; /* the argument that says more about this one */
	const struct stap_flag_table *flags;
	const struct stap_name_table *names;
	const struct stap_flag_table *more_flags; /* of the signals of a sigaction */
};

struct stap_syscall_form {
	const char *name, *point;
	u8 count, result;
	struct stap_syscall_argument arguments[6];
};

struct stap_syscall_table {
	const struct stap_syscall_form *forms; /* by number, STAP_SYSCALL_SLOTS of them */
	const struct stap_name_table *errors;
};

struct stap_syscall_decoder {
	struct stap_context *c;
	struct stap_sink s;
	const u64 *args;
};

static const struct stap_syscall_form *stap_syscall_form_of(const struct stap_syscall_table *t,
							     s64 number)
{
	number &= STAP_POINT_NAME - 1;
	if (number >= STAP_SYSCALL_SLOTS || !t->forms[number].name)
		return NULL;
	return &t->forms[number];
}

static void stap_put_hex(struct stap_sink *s, s64 value)
{
	stap_put_number(s, value, 'x', '#', 0, -1);
}

static void stap_put_unsigned(struct stap_sink *s, u64 value)
{
	stap_put_number(s, value, 'u', 0, 0, -1);
}

/* The name of a number, by its 32 bits; whether there was one. */
static bool stap_put_name(struct stap_sink *s, const struct stap_name_table *t, u32 number)
{
	u32 i;

	for (i = 0; i < t->name_count; i++)
		if ((u32)t->names[i].number == number) {
			stap_put_text(s, t->names[i].text);
			return true;
		}
	return false;
}

static void stap_put_named(struct stap_sink *s, const struct stap_name_table *t, s64 value)
{
	if (!stap_put_name(s, t, value))
		stap_put_long(s, (s32)value);
}

/* ---- structures ---- */

static void stap_put_fraction(struct stap_sink *s, s64 value, int digits)
{
	if (value >= 0 && value < (digits == 9 ? 1000000000 : 1000000))
		stap_put_number(s, value, 'd', '0', digits, -1);
	else
		stap_put_long(s, value);
}

static void stap_put_time(struct stap_sink *s, const s64 *time, int digits)
{
	stap_put_long(s, time[0]);
	stap_put_text(s, ".");
	stap_put_fraction(s, time[1], digits);
}

static void stap_put_one_time(struct stap_sink *s, const s64 *time, int digits)
{
	stap_put_text(s, "[");
	if (digits == 9 && time[1] == 0x3fffffff)
		stap_put_text(s, "UTIME_NOW");
	else if (digits == 9 && time[1] == 0x3ffffffe)
		stap_put_text(s, "UTIME_OMIT");
	else
		stap_put_time(s, time, digits);
	stap_put_text(s, "]");
}

static void stap_put_interval(struct stap_sink *s, const s64 *times, int digits)
{
	stap_put_text(s, "[");
	stap_put_time(s, times, digits);
	stap_put_text(s, ",");
	stap_put_time(s, times + 2, digits);
	stap_put_text(s, "]");
}

static void stap_put_signal_set(struct stap_sink *s, const struct stap_flag_table *t, u64 set)
{
	stap_put_text(s, "[");
	if (set)
		stap_put_flags(s, t, set, false);
	else
		stap_put_text(s, "EMPTY");
	stap_put_text(s, "]");
}

static void stap_put_sigaction(struct stap_sink *s, const struct stap_syscall_argument *a,
			       const u64 *action)
{
	stap_put_text(s, "{");
	if (action[0] > 1)
		stap_put_hex(s, action[0]);
	else
		stap_put_text(s, action[0] ? "SIG_IGN" : "SIG_DFL");
	stap_put_text(s, ", ");
	stap_put_flags(s, a->flags, action[1], false);
	stap_put_text(s, ", ");
	stap_put_hex(s, action[2]);
	stap_put_text(s, ", ");
	stap_put_signal_set(s, a->more_flags, action[3]);
	stap_put_text(s, "}");
}

static void stap_put_limit(struct stap_sink *s, u64 limit)
{
	if (limit == ~0ull)
		stap_put_text(s, "RLIM_INFINITY");
	else
		stap_put_unsigned(s, limit);
}

static void stap_put_structure(struct stap_sink *s, const struct stap_syscall_argument *a,
			       s64 address)
{
	static const u8 words[] = {
		[STAP_KIND_TIMESPEC] = 2, [STAP_KIND_TIMESPEC2] = 4, [STAP_KIND_TIMEVAL] = 2,
		[STAP_KIND_TIMEVAL2] = 4, [STAP_KIND_ITIMERSPEC] = 4, [STAP_KIND_ITIMERVAL] = 4,
		[STAP_KIND_SIGSET] = 1, [STAP_KIND_SIGACTION] = 4, [STAP_KIND_RLIMIT] = 2,
	};
	s64 data[4];

	if (!stap_memory_read(data, address, 8 * words[a->kind], true)) {
		stap_put_hex(s, address);
		return;
	}
	switch (a->kind) {
	case STAP_KIND_TIMESPEC:
	case STAP_KIND_TIMEVAL:
		stap_put_text(s, "[");
		stap_put_time(s, data, a->kind == STAP_KIND_TIMESPEC ? 9 : 6);
		stap_put_text(s, "]");
		break;
	case STAP_KIND_TIMESPEC2:
	case STAP_KIND_TIMEVAL2:
		stap_put_one_time(s, data, a->kind == STAP_KIND_TIMESPEC2 ? 9 : 6);
		stap_put_one_time(s, data + 2, a->kind == STAP_KIND_TIMESPEC2 ? 9 : 6);
		break;
	case STAP_KIND_ITIMERSPEC:
	case STAP_KIND_ITIMERVAL:
		stap_put_interval(s, data, a->kind == STAP_KIND_ITIMERSPEC ? 9 : 6);
		break;
	case STAP_KIND_SIGSET:
		stap_put_signal_set(s, a->flags, data[0]);
		break;
	case STAP_KIND_SIGACTION:
		stap_put_sigaction(s, a, (const u64 *)data);
		break;
	case STAP_KIND_RLIMIT:
		stap_put_text(s, "[");
		stap_put_limit(s, data[0]);
		stap_put_text(s, ",");
		stap_put_limit(s, data[1]);
		stap_put_text(s, "]");
		break;
	}
}

/* ---- socket addresses ---- */

/* Eight groups; the first longest run of two or more zeros as "::". */
static void stap_put_ipv6(struct stap_sink *s, const u8 *bytes)
{
	int i, run = 0, start = 0, best = 1, best_start = -1;

	for (i = 0; i < 8; i++) {
		if (bytes[2 * i] || bytes[2 * i + 1]) {
			run = 0;
			continue;
		}
		if (!run++)
			start = i;
		if (run > best) {
			best = run;
			best_start = start;
		}
	}
	for (i = 0; i < 8; i++) {
		if (i == best_start)
			stap_put_text(s, "::");
		if (best_start >= 0 && i >= best_start && i < best_start + best)
			continue;
		if (i && !(best_start >= 0 && i == best_start + best))
			stap_put_text(s, ":");
		stap_put_number(s, bytes[2 * i] << 8 | bytes[2 * i + 1], 'x', 0, 0, -1);
	}
}

static void stap_put_unix(struct stap_syscall_decoder *d, s64 address, s64 length)
{
	struct stap_sink *s = &d->s;
	u8 first;

	if (length > STAP_UNIX_BYTES)
		length = STAP_UNIX_BYTES;
	if (length <= 2 || !stap_memory_read(&first, address + 2, 1, true))
		return;
	stap_put_text(s, ", ");
	if (first) {
		if (!stap_memory_read(d->c->report, address + 2, length - 2, true))
			stap_put_hex(s, address + 2);
		else
			stap_put_quoted(s, d->c->report, strnlen(d->c->report, length - 2), 128,
					false);
		return;
	}
	stap_put_text(s, "@");
	if (length == 3)
		stap_put_text(s, "\"\"");
	else
		stap_put_buffer_at(d->c, s, address + 3, length - 3, 128, true);
}

static void stap_put_inet(struct stap_sink *s, u16 family, const u8 *bytes)
{
	u32 pid, groups, i;

	stap_put_text(s, ", ");
	if (family == STAP_FAMILY_NETLINK) {
		memcpy(&pid, bytes + 4, 4);
		memcpy(&groups, bytes + 8, 4);
		stap_put_text(s, "pid=");
		stap_put_long(s, (s32)pid);
		stap_put_text(s, ", groups=");
		stap_put_number(s, groups, 'x', '0', 8, -1);
		return;
	}
	if (family == STAP_FAMILY_INET6)
		stap_put_ipv6(s, bytes + 8);
	for (i = 0; i < 4 && family == STAP_FAMILY_INET; i++) {
		if (i)
			stap_put_text(s, ".");
		stap_put_unsigned(s, bytes[4 + i]);
	}
	stap_put_text(s, ", ");
	stap_put_unsigned(s, bytes[2] << 8 | bytes[3]);
}

static void stap_put_socket_address(struct stap_syscall_decoder *d,
				    const struct stap_name_table *families, s64 address,
				    u32 length)
{
	struct stap_sink *s = &d->s;
	u32 needed;
	u8 bytes[28];
	u16 family;

	if (length > 128)
		length = 128;
	if (length < 2 || !stap_memory_read(&family, address, 2, true)) {
		stap_put_hex(s, address);
		return;
	}
	stap_put_text(s, "{");
	if (!stap_put_name(s, families, family)) {
		stap_put_text(s, "unknown address family ");
		stap_put_unsigned(s, family);
	} else if (family == STAP_FAMILY_UNIX) {
		stap_put_unix(d, address, length);
	} else {
		needed = family == STAP_FAMILY_INET ? 16 : family == STAP_FAMILY_INET6 ? 28 :
			 family == STAP_FAMILY_NETLINK ? 12 : 0;
		if (needed && length >= needed && stap_memory_read(bytes, address, needed, true))
			stap_put_inet(s, family, bytes);
	}
	stap_put_text(s, "}");
}

/* ---- lists ---- */

static void stap_put_argv(struct stap_syscall_decoder *d, s64 address)
{
	u64 pointer;
	int i;

	if (!stap_memory_read(&pointer, address, 8, true)) {
		stap_put_hex(&d->s, address);
		return;
	}
	stap_put_text(&d->s, "[");
	for (i = 0; pointer && i <= STAP_ARGV_STRINGS; i++) {
		if (i)
			stap_put_text(&d->s, ", ");
		if (i == STAP_ARGV_STRINGS) {
			stap_put_text(&d->s, "...");
			break;
		}
		stap_put_string_at(d->c, &d->s, pointer, STAP_ARGV_BYTES, STAP_ARGV_BYTES, true);
		if (!stap_memory_read(&pointer, address + 8 * (i + 1), 8, true)) {
			stap_put_text(&d->s, ", ...");
			break;
		}
	}
	stap_put_text(&d->s, "]");
}

static void stap_put_envp(struct stap_sink *s, s64 address)
{
	u64 pointer;
	int i;

	for (i = 0; i < STAP_ENVP_STRINGS; i++) {
		if (!stap_memory_read(&pointer, address + 8 * i, 8, true)) {
			if (i)
				continue;
			stap_put_hex(s, address);
			return;
		}
		if (!pointer)
			break;
	}
	stap_put_text(s, "[/* ");
	stap_put_unsigned(s, i);
	stap_put_text(s, i == STAP_ENVP_STRINGS ? "+ vars */]" : " vars */]");
}

/* ---- arguments ---- */

static void stap_put_count_bytes(struct stap_syscall_decoder *d, s64 address, u64 count)
{
	u64 taken = count < STAP_BUFFER_BYTES ? count : STAP_BUFFER_BYTES;

	if (!count)
		stap_put_text(&d->s, "\"\"");
	else if (stap_put_buffer_at(d->c, &d->s, address, taken, 4 * STAP_BUFFER_BYTES, true) &&
		 count > taken)
		stap_put_text(&d->s, "...");
}

static void stap_put_pointed(struct stap_syscall_decoder *d, const struct stap_syscall_argument *a,
			     s64 value)
{
	switch (a->kind) {
	case STAP_KIND_PATH:
		stap_put_string_at(d->c, &d->s, value, STAP_PATH_BYTES, STAP_PATH_BYTES, true);
		break;
	case STAP_KIND_BUF:
		stap_put_count_bytes(d, value, d->args[a->other]);
		break;
	case STAP_KIND_SOCKADDR:
		stap_put_socket_address(d, a->names, value, d->args[a->other]);
		break;
	case STAP_KIND_ARGV:
		stap_put_argv(d, value);
		break;
	case STAP_KIND_ENVP:
		stap_put_envp(&d->s, value);
		break;
	default:
		stap_put_structure(&d->s, a, value);
	}
}

/* Whether what another argument says makes this one a name. */
static bool stap_is_named(const struct stap_syscall_argument *a, u32 other)
{
	if (a->kind == STAP_KIND_SOCKOPT)
		return other == 1; /* SOL_SOCKET */
	return other == STAP_FAMILY_INET || other == STAP_FAMILY_INET6;
}

static void stap_put_argument(struct stap_syscall_decoder *d,
			      const struct stap_syscall_argument *a, s64 value)
{
	struct stap_sink *s = &d->s;

	if (a->narrow)
		value = (u32)value;
	switch (a->kind) {
	case STAP_KIND_INT: stap_put_long(s, (s32)value); break;
	case STAP_KIND_LONG: stap_put_long(s, value); break;
	case STAP_KIND_UINT:
	case STAP_KIND_ULONG: stap_put_unsigned(s, value); break;
	case STAP_KIND_HEX:
	case STAP_KIND_PTR: stap_put_hex(s, value); break;
	case STAP_KIND_OCT:
	case STAP_KIND_OPENMODE: stap_put_octal(s, value); break;
	case STAP_KIND_FLAGS: stap_put_flags(s, a->flags, value, false); break;
	case STAP_KIND_OFLAGS: stap_put_flags(s, a->flags, value, true); break;
	case STAP_KIND_DIRFD:
	case STAP_KIND_ENUM: stap_put_named(s, a->names, value); break;
	case STAP_KIND_SOCKOPT:
	case STAP_KIND_PROTOCOL:
		if (stap_is_named(a, d->args[a->other]))
			stap_put_named(s, a->names, value);
		else
			stap_put_long(s, (s32)value);
		break;
	default:
		if (value)
			stap_put_pointed(d, a, value);
		else
			stap_put_text(s, "NULL");
	}
}

static bool stap_is_shown(const struct stap_syscall_decoder *d,
			  const struct stap_syscall_argument *a)
{
	if (a->kind == STAP_KIND_OPENMODE)
		return d->args[a->other] & STAP_MAKES_FILE;
	return a->kind != STAP_KIND_NONE;
}

/* A text that was cut ends before an escape that is not whole. */
static void stap_close_at_escape(struct stap_sink *s, char *text)
{
	char *at = text;

	while (at < s->at) {
		int size = *at != '\\' ? 1 : at + 1 < s->at && at[1] >= '0' && at[1] <= '9' ? 4 : 2;

		if (at + size > s->at)
			break;
		at += size;
	}
	*at = 0;
}

/* All arguments, or the one asked for. */
static void __maybe_unused stap_syscall_argstr(struct stap_context *c,
					       const struct stap_syscall_table *t, char *to,
					       u32 size, s64 number, const u64 *args)
{
	const struct stap_syscall_form *form = stap_syscall_form_of(t, number);
	struct stap_syscall_decoder d = { c, stap_sink_of(to, size), args };
	int i, chosen = number >> STAP_ARGUMENT_SHIFT;
	bool any = false;

	for (i = 0; form && i < form->count; i++) {
		const struct stap_syscall_argument *a = &form->arguments[i];

		if ((chosen && chosen != i + 1) || !stap_is_shown(&d, a))
			continue;
		if (any)
			stap_put_text(&d.s, ", ");
		any = true;
		stap_put_argument(&d, a, args[i]);
	}
	if (d.s.at == d.s.end)
		stap_close_at_escape(&d.s, to);
	else
		stap_sink_close(&d.s);
}

/* 3, -2 (ENOENT), 0x7f... */
static void __maybe_unused stap_syscall_retstr(const struct stap_syscall_table *t, char *to,
					       u32 size, s64 number, s64 value)
{
	const struct stap_syscall_form *form = stap_syscall_form_of(t, number);
	struct stap_sink s = stap_sink_of(to, size);
	char *before;

	if (value < 0 && value >= -4095) {
		stap_put_long(&s, value);
		before = s.at;
		stap_put_text(&s, " (");
		if (stap_put_name(&s, t->errors, -value))
			stap_put_text(&s, ")");
		else
			s.at = before;
		stap_sink_close(&s);
		return;
	}
	switch (form ? form->result : STAP_RESULT_INT) {
	case STAP_RESULT_PTR: stap_put_hex(&s, value); break;
	case STAP_RESULT_OCT: stap_put_octal(&s, value); break;
	case STAP_RESULT_ULONG: stap_put_unsigned(&s, value); break;
	default: stap_put_long(&s, value);
	}
	stap_sink_close(&s);
}

static void __maybe_unused stap_syscall_name(const struct stap_syscall_table *t, char *to, u32 size,
					     s64 number)
{
	const struct stap_syscall_form *form = stap_syscall_form_of(t, number);
	struct stap_sink s = stap_sink_of(to, size);

	if (form)
		stap_put_text(&s, number & STAP_POINT_NAME ? form->point : form->name);
	else
		stap_put_unsigned(&s, number & (STAP_POINT_NAME - 1));
	stap_sink_close(&s);
}

#endif
