/* Strings: NUL-terminated, in memory of a size known when the script is translated. */
#ifndef PYSTAP_STRING_OPS_H
#define PYSTAP_STRING_OPS_H

#include "text.h"

/* Copy a string into `size` bytes, cut if need be. */
static void stap_copy_string(char *to, const char *from, u32 size)
{
	size_t length = strnlen(from, size - 1);

	memmove(to, from, length);
	to[length] = 0;
}

/* The same with NULs behind the text: a part of a key. */
static void stap_copy_key(char *to, const char *from, u32 size)
{
	size_t length = strnlen(from, size - 1);

	memcpy(to, from, length);
	memset(to + length, 0, size - length);
}

static s64 stap_divide(s64 left, s64 right)
{
	return right == -1 ? -(u64)left : left / right;
}

static s64 stap_modulo(s64 left, s64 right)
{
	return right == -1 || right == 1 ? 0 : left % right;
}

static void stap_substr(char *to, u32 size, const char *text, s64 start, s64 length)
{
	s64 have = strlen(text);

	*to = 0;
	if (start < 0 || length < 0 || start >= have)
		return;
	if (length > have - start)
		length = have - start;
	if (length > size - 1)
		length = size - 1;
	memmove(to, text + start, length);
	to[length] = 0;
}

static s64 stap_stringat(struct stap_context *c, const char *text, s64 index, int position)
{
	if (index < 0 || index >= MAXSTRINGLEN) {
		stap_fault(c, position, "invalid string index");
		return 0;
	}
	return index < strlen(text) ? (u8)text[index] : 0;
}

static s64 stap_strpos(const char *text, const char *part)
{
	const char *found = strstr(text, part);

	return found ? found - text : -1;
}

static void stap_str_replace(char *to, u32 size, const char *text, const char *old, const char *new)
{
	struct stap_sink s = stap_sink_of(to, size);
	size_t length = strlen(old);
	const char *found;

	while (length && (found = strstr(text, old))) {
		stap_put_bytes(&s, text, found - text);
		stap_put_text(&s, new);
		text = found + length;
	}
	stap_put_text(&s, text);
	stap_sink_close(&s);
}

static int stap_digit_of(char byte)
{
	if (byte >= '0' && byte <= '9')
		return byte - '0';
	if (byte >= 'a' && byte <= 'z')
		return byte - 'a' + 10;
	if (byte >= 'A' && byte <= 'Z')
		return byte - 'A' + 10;
	return 99;
}

static s64 stap_text_number(const char *text, s64 base)
{
	bool negative = *text == '-';
	u64 value = 0;

	text += negative;
	if ((base == 0 || base == 16) && text[0] == '0' && (text[1] | 32) == 'x' &&
	    stap_digit_of(text[2]) < 16) {
		text += 2;
		base = 16;
	} else if (base == 0) {
		base = *text == '0' ? 8 : 10;
	}
	if (base < 2 || base > 36)
		return 0;
	while (*text && stap_digit_of(*text) < base)
		value = value * base + stap_digit_of(*text++);
	return negative ? -value : value;
}

/* The next piece of the text given before, "" when there is none. */
static void stap_tokenize_next(struct stap_context *c, char *to, u32 size, const char *delimiters)
{
	const char *at = c->tokens + c->tokens_at;
	size_t length;

	at += strspn(at, delimiters);
	length = strcspn(at, delimiters);
	if (length > size - 1)
		length = size - 1;
	memcpy(to, at, length);
	to[length] = 0;
	at += length;
	c->tokens_at = at - c->tokens + (*at != 0);
}

static void stap_tokenize(struct stap_context *c, char *to, u32 size, const char *text,
		     const char *delimiters)
{
	if (*text) {
		stap_copy_string(c->tokens, text, MAXSTRINGLEN);
		c->tokens_at = 0;
	}
	stap_tokenize_next(c, to, size, delimiters);
}

/* A byte as in a C literal: printable ASCII as it is. */
static u32 stap_escape_char(char *at, u8 byte)
{
	if (byte >= 32 && byte < 127 && byte != '"' && byte != '\\') {
		*at = byte;
		return 1;
	}
	return stap_escape_byte(at, byte);
}

/* As much of `text` (`length` bytes) as fits escaped into `room` bytes; false: that was not all. */
static bool stap_put_escaped(struct stap_sink *s, const char *text, size_t length, s64 room)
{
	size_t at;

	for (at = 0; at < length; at++) {
		char piece[4];
		u32 size = stap_escape_char(piece, text[at]);

		if (size > room)
			return false;
		room -= size;
		stap_put_bytes(s, piece, size);
	}
	return true;
}

static void stap_text_plain(char *to, u32 size, const char *text, s64 room)
{
	struct stap_sink s = stap_sink_of(to, size);

	if (room <= 0 || room > MAXSTRINGLEN - 1)
		room = MAXSTRINGLEN - 1;
	stap_put_escaped(&s, text, strlen(text), room);
	stap_sink_close(&s);
}

/* Between double quotes; three dots when something is missing, here or already (`cut`). */
static void stap_put_quoted(struct stap_sink *s, const char *text, size_t length, s64 room, bool cut)
{
	if (room <= 0 || room > MAXSTRINGLEN - 6)
		room = MAXSTRINGLEN - 6;
	stap_put_text(s, "\"");
	if (!stap_put_escaped(s, text, length, room))
		cut = true;
	stap_put_text(s, cut ? "\"..." : "\"");
}

static void stap_text_quoted(char *to, u32 size, const char *text, size_t length, s64 room, bool cut)
{
	struct stap_sink s = stap_sink_of(to, size);

	stap_put_quoted(&s, text, length, room, cut);
	stap_sink_close(&s);
}

static void stap_text_strn(char *to, u32 size, const char *text, s64 room, s64 quoted)
{
	if (quoted)
		stap_text_quoted(to, size, text, strlen(text), room, false);
	else
		stap_text_plain(to, size, text, room);
}

static void stap_byte_str(char *to, s64 byte)
{
	to[0] = byte;
	to[1] = 0;
}

#endif
