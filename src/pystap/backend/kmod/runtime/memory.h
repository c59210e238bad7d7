/* Reads of kernel and user memory; memory_read() is the surroundings'. */
#ifndef PYSTAP_MEMORY_H
#define PYSTAP_MEMORY_H

#include "string_ops.h"

static bool stap_memory_read(void *to, u64 from, size_t size, bool user);
static bool stap_memory_write(u64 to, const void *from, size_t size, bool user);

/* The low bytes of a number to an address. */
static void __maybe_unused stap_memory_store(struct stap_context *c, s64 address, s64 size,
					     s64 value, bool user, int position)
{
	if (!stap_memory_write(address, &value, size, user))
		stap_fault_number(c, position,
				  user ? "user write fault at " : "kernel write fault at ", address,
				  'x', "");
}

static s64 __maybe_unused stap_read_or(s64 address, s64 size, s64 instead, bool user)
{
	u64 value = 0;

	if (size < 1 || size > 8 || !stap_memory_read(&value, address, size, user))
		return instead;
	return value;
}

/* Text at an address: at most `most` bytes and what the memory for it holds; false on a fault. */
static bool stap_read_string(char *to, u32 size, u64 address, s64 most, bool user)
{
	u32 at = 0;

	if (most < 0)
		most = 0;
	if (most > size - 1)
		most = size - 1;
	while (at < most) {
		/* Never across the end of a page that may be the last one there. */
		u32 piece = 64 - ((address + at) & 63), i;

		if (piece > most - at)
			piece = most - at;
		if (!stap_memory_read(to + at, address + at, piece, user))
			return false;
		for (i = 0; i < piece; i++)
			if (!to[at + i])
				return true;
		at += piece;
	}
	to[at] = 0;
	return true;
}

static void __maybe_unused stap_read_text(struct stap_context *c, char *to, u32 size, s64 address, s64 most,
				     bool user, int position)
{
	if (stap_read_string(to, size, address, most, user))
		return;
	*to = 0;
	stap_fault_number(c, position,
		     user ? "user string copy fault -14 at " : "kernel string copy fault -14 at ",
		     address, 'x', "");
}

static void __maybe_unused stap_read_text_or(char *to, u32 size, s64 address, s64 most,
					const char *instead, bool user)
{
	if (!stap_read_string(to, size, address, most, user))
		stap_copy_string(to, instead, size);
}

static s64 __maybe_unused stap_read_bytes(struct stap_context *c, char *to, u32 size, s64 address, s64 count,
				     bool user, int position)
{
	if (count > 4096) {
		stap_fault_number(c, position, "", count, 'd', " is too many bytes for a memory dump");
		return 0;
	}
	if (count < 0)
		count = 0;
	if (count > size - 1)
		count = size - 1;
	if (!count || stap_memory_read(to, address, count, user))
		return count;
	stap_fault_number(c, position, user ? "user read fault at " : "kernel read fault at ", address,
		     'x', "");
	return 0;
}

static void stap_put_address(struct stap_sink *s, s64 address)
{
	if (address)
		stap_put_number(s, address, 'x', '#', 0, -1);
	else
		stap_put_text(s, "NULL");
}

static s64 stap_quoted_length(s64 wanted)
{
	return wanted > 0 && wanted < MAXSTRINGLEN - 1 ? wanted : MAXSTRINGLEN - 1;
}

/* The string at an address between quotes, or the address. */
static void stap_put_string_at(struct stap_context *c, struct stap_sink *s, s64 address, s64 most, s64 room,
			  bool user)
{
	size_t length;

	most = stap_quoted_length(most);
	if (!address || !stap_read_string(c->report, MAXSTRINGLEN + 1, address, most + 1, user)) {
		stap_put_address(s, address);
		return;
	}
	length = strlen(c->report);
	stap_put_quoted(s, c->report, length > most ? most : length, room, length > most);
}

/* So many bytes at an address; whether they could be read. */
static bool stap_put_buffer_at(struct stap_context *c, struct stap_sink *s, s64 address, s64 wanted, s64 room,
			  bool user)
{
	s64 taken = stap_quoted_length(wanted);

	if (!address || !stap_memory_read(c->report, address, taken, user)) {
		stap_put_address(s, address);
		return false;
	}
	stap_put_quoted(s, c->report, taken, room, wanted > taken);
	return true;
}

static void __maybe_unused stap_read_quoted(struct stap_context *c, char *to, u32 size, s64 address, s64 most,
				       s64 room, bool user)
{
	struct stap_sink s = stap_sink_of(to, size);

	stap_put_string_at(c, &s, address, most, room, user);
	stap_sink_close(&s);
}

static void __maybe_unused stap_read_buffer_quoted(struct stap_context *c, char *to, u32 size, s64 address,
					      s64 wanted, s64 room, bool user)
{
	struct stap_sink s = stap_sink_of(to, size);

	stap_put_buffer_at(c, &s, address, wanted, room, user);
	stap_sink_close(&s);
}

#endif
