/* Reads of kernel and user memory; memory_read() is the surroundings'. */
#ifndef PYSTAP_MEMORY_H
#define PYSTAP_MEMORY_H

#include "string_ops.h"

static bool memory_read(void *to, u64 from, size_t size, bool user);

static s64 __maybe_unused read_or(s64 address, s64 size, s64 instead, bool user)
{
	u64 value = 0;

	if (size < 1 || size > 8 || !memory_read(&value, address, size, user))
		return instead;
	return value;
}

/* Text at an address: at most `most` bytes and what the memory for it holds; false on a fault. */
static bool read_string(char *to, u32 size, u64 address, s64 most, bool user)
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
		if (!memory_read(to + at, address + at, piece, user))
			return false;
		for (i = 0; i < piece; i++)
			if (!to[at + i])
				return true;
		at += piece;
	}
	to[at] = 0;
	return true;
}

static void __maybe_unused read_text(struct context *c, char *to, u32 size, s64 address, s64 most,
				     bool user, int position)
{
	if (read_string(to, size, address, most, user))
		return;
	*to = 0;
	fault_number(c, position,
		     user ? "user string copy fault -14 at " : "kernel string copy fault -14 at ",
		     address, 'x', "");
}

static void __maybe_unused read_text_or(char *to, u32 size, s64 address, s64 most,
					const char *instead, bool user)
{
	if (!read_string(to, size, address, most, user))
		copy_string(to, instead, size);
}

static s64 __maybe_unused read_bytes(struct context *c, char *to, u32 size, s64 address, s64 count,
				     bool user, int position)
{
	if (count > 4096) {
		fault_number(c, position, "", count, 'd', " is too many bytes for a memory dump");
		return 0;
	}
	if (count < 0)
		count = 0;
	if (count > size - 1)
		count = size - 1;
	if (memory_read(to, address, count, user))
		return count;
	fault_number(c, position, user ? "user read fault at " : "kernel read fault at ", address,
		     'x', "");
	return 0;
}

static void put_address(char *to, u32 size, s64 address)
{
	struct sink s = sink_of(to, size);

	if (address)
		put_number(&s, address, 'x', '#', 0, -1);
	else
		put_text(&s, "NULL");
	sink_close(&s);
}

static s64 quoted_length(s64 wanted)
{
	return wanted > 0 && wanted < MAXSTRINGLEN - 1 ? wanted : MAXSTRINGLEN - 1;
}

static void __maybe_unused read_quoted(struct context *c, char *to, u32 size, s64 address, s64 most,
				       s64 room, bool user)
{
	size_t length;

	most = quoted_length(most);
	if (!address || !read_string(c->report, MAXSTRINGLEN + 1, address, most + 1, user)) {
		put_address(to, size, address);
		return;
	}
	length = strlen(c->report);
	text_quoted(to, size, c->report, length > most ? most : length, room, length > most);
}

static void __maybe_unused read_buffer_quoted(struct context *c, char *to, u32 size, s64 address,
					      s64 wanted, s64 room, bool user)
{
	s64 taken = quoted_length(wanted);

	if (!address || !memory_read(c->report, address, taken, user)) {
		put_address(to, size, address);
		return;
	}
	text_quoted(to, size, c->report, taken, room, wanted > taken);
}

#endif
