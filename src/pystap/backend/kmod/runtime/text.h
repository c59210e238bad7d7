/* Making text: what print and sprint make of their arguments. */
#ifndef PYSTAP_TEXT_H
#define PYSTAP_TEXT_H

#include "context.h"

#define STAP_MAX_FIELD 4096 /* widths and precisions are cut to this */

static void stap_output_flush(struct stap_context *c, bool more);

static void stap_put_bytes(struct stap_sink *s, const char *from, size_t size)
{
	while (size) {
		size_t room = s->end - s->at;

		if (room > size)
			room = size;
		memcpy(s->at, from, room);
		s->at += room;
		from += room;
		size -= room;
		if (!size)
			return;
		if (!s->flush)
			return;
		stap_output_flush(s->flush, true);
	}
}

static void stap_put_fill(struct stap_sink *s, char byte, s64 count)
{
	while (count > 0) {
		size_t room = s->end - s->at;

		if (room > count)
			room = count;
		memset(s->at, byte, room);
		s->at += room;
		count -= room;
		if (count <= 0 || !s->flush)
			return;
		stap_output_flush(s->flush, true);
	}
}

static void stap_put_text(struct stap_sink *s, const char *text)
{
	stap_put_bytes(s, text, strlen(text));
}

static struct stap_sink stap_sink_of(char *at, u32 size)
{
	struct stap_sink s = { at, at + size - 1, NULL };

	return s;
}

static void stap_sink_close(struct stap_sink *s)
{
	*s->at = 0;
}

static s64 stap_field_width(s64 width, bool *left)
{
	if (width < 0) {
		*left = true;
		width = width == S64_MIN ? S64_MAX : -width;
	}
	return width > STAP_MAX_FIELD ? STAP_MAX_FIELD : width;
}

static void stap_put_field(struct stap_sink *s, const char *text, size_t size, s64 width, bool left)
{
	width = stap_field_width(width, &left);
	if (!left)
		stap_put_fill(s, ' ', width - (s64)size);
	stap_put_bytes(s, text, size);
	if (left)
		stap_put_fill(s, ' ', width - (s64)size);
}

/* The digits of a number, ending before `end`; where they begin. */
static char *stap_digits_of(char *end, u64 value, int base, bool upper)
{
	const char *digits = upper ? "0123456789ABCDEF" : "0123456789abcdef";

	do {
		*--end = digits[value % base];
		value /= base;
	} while (value);
	return end;
}

/* %d %u %o %x %X %p; a precision below 0 is none. */
static void stap_put_number(struct stap_sink *s, s64 value, char conv, char flag, s64 width, s64 precision)
{
	char digits[24], *end = digits + sizeof(digits), *at;
	const char *prefix = "";
	bool left = flag == '-';
	s64 zeros, size;

	width = stap_field_width(width, &left);
	if (precision > STAP_MAX_FIELD)
		precision = STAP_MAX_FIELD;
	if (conv == 'd') {
		if (value < 0)
			prefix = "-";
		else if (flag == '+')
			prefix = "+";
		else if (flag == ' ')
			prefix = " ";
		at = stap_digits_of(end, value < 0 ? -(u64)value : (u64)value, 10, false);
	} else if (conv == 'u') {
		at = stap_digits_of(end, value, 10, false);
	} else if (conv == 'o') {
		prefix = flag == '#' ? "0" : "";
		at = stap_digits_of(end, value, 8, false);
	} else {
		if (flag == '#' || conv == 'p')
			prefix = conv == 'X' ? "0X" : "0x";
		at = stap_digits_of(end, value, 16, conv == 'X');
	}
	size = end - at;
	zeros = precision > size ? precision - size : 0;
	if (flag == '0' && !left && width - (s64)strlen(prefix) > size + zeros)
		zeros = width - (s64)strlen(prefix) - size;
	size += zeros + strlen(prefix);
	if (!left)
		stap_put_fill(s, ' ', width - size);
	stap_put_text(s, prefix);
	stap_put_fill(s, '0', zeros);
	stap_put_bytes(s, at, end - at);
	if (left)
		stap_put_fill(s, ' ', width - size);
}

static void stap_put_long(struct stap_sink *s, s64 value)
{
	char digits[24], *end = digits + sizeof(digits), *at;

	at = stap_digits_of(end, value < 0 ? -(u64)value : (u64)value, 10, false);
	if (value < 0)
		*--at = '-';
	stap_put_bytes(s, at, end - at);
}

/* %b: the low 1, 2, 4 or 8 bytes. */
static void stap_put_binary(struct stap_sink *s, s64 value, bool left, s64 width, s64 precision)
{
	s64 wanted, size;

	width = stap_field_width(width, &left);
	wanted = precision >= 0 ? precision : width ? width : 8;
	size = wanted <= 1 ? 1 : wanted == 2 ? 2 : wanted <= 4 ? 4 : 8;
	if (!left)
		stap_put_fill(s, 0, width - size);
	stap_put_bytes(s, (const char *)&value, size);
	if (left)
		stap_put_fill(s, 0, width - size);
}

static const char *stap_escape_letter(u8 byte)
{
	switch (byte) {
	case 7: return "\\a";
	case 8: return "\\b";
	case 9: return "\\t";
	case 10: return "\\n";
	case 11: return "\\v";
	case 12: return "\\f";
	case 13: return "\\r";
	case '"': return "\\\"";
	case '\\': return "\\\\";
	case '\'': return "\\'";
	}
	return NULL;
}

/* An escaped byte, always by a backslash; its length. */
static u32 stap_escape_byte(char *at, u8 byte)
{
	const char *letter = stap_escape_letter(byte);

	if (letter) {
		memcpy(at, letter, 2);
		return 2;
	}
	at[0] = '\\';
	at[1] = '0' + (byte >> 6);
	at[2] = '0' + (byte >> 3 & 7);
	at[3] = '0' + (byte & 7);
	return 4;
}

/* %c and %#c. */
static void stap_put_char(struct stap_sink *s, s64 value, char flag, s64 width)
{
	u8 byte = value;
	char text[4];
	u32 size = 1;

	text[0] = byte;
	if (flag == '#' && (byte < 32 || byte >= 127 || byte == '\'' || byte == '\\'))
		size = stap_escape_byte(text, byte);
	stap_put_field(s, text, size, width, flag == '-');
}

static bool stap_is_escaped(u8 byte)
{
	return byte < 32 || byte == '"' || byte == '\\' || byte == 127;
}

/* %s and %#s; a precision below 0 is none. */
static void stap_put_string(struct stap_sink *s, const char *text, char flag, s64 width, s64 precision)
{
	bool left = flag == '-';
	size_t size = strlen(text), at, shown;

	if (precision >= 0 && size > precision)
		size = precision;
	if (flag != '#') {
		stap_put_field(s, text, size, width, left);
		return;
	}
	for (at = shown = 0; at < size; at++) {
		char escaped[4];

		shown += stap_is_escaped(text[at]) ? stap_escape_byte(escaped, text[at]) : 1;
	}
	width = stap_field_width(width, &left);
	if (!left)
		stap_put_fill(s, ' ', width - (s64)shown);
	for (at = 0; at < size; at++) {
		char escaped[4];

		if (stap_is_escaped(text[at]))
			stap_put_bytes(s, escaped, stap_escape_byte(escaped, text[at]));
		else
			stap_put_bytes(s, text + at, 1);
	}
	if (left)
		stap_put_fill(s, ' ', width - (s64)shown);
}

/* %m and %M: bytes of memory, as they are or as hexadecimal digits. */
static void stap_put_memory(struct stap_sink *s, const char *bytes, size_t size, bool hex, bool left,
		       s64 width, s64 precision)
{
	size_t at;

	if (precision >= 0 && size > precision)
		size = precision;
	if (!hex) {
		stap_put_field(s, bytes, size, width, left);
		return;
	}
	width = stap_field_width(width, &left);
	if (!left)
		stap_put_fill(s, ' ', width - (s64)(2 * size));
	for (at = 0; at < size; at++) {
		stap_put_bytes(s, "0123456789abcdef" + ((u8)bytes[at] >> 4), 1);
		stap_put_bytes(s, "0123456789abcdef" + ((u8)bytes[at] & 15), 1);
	}
	if (left)
		stap_put_fill(s, ' ', width - (s64)(2 * size));
}

/* A run-time error with a number in its text. */
static void stap_fault_number(struct stap_context *c, int position, const char *before, s64 number, char conv,
			 const char *after)
{
	struct stap_sink s = stap_sink_of(c->message, STAP_MESSAGE_SIZE);

	stap_put_text(&s, before);
	if (conv == 'x')
		stap_put_number(&s, number, 'x', '0', 16, -1);
	else
		stap_put_long(&s, number);
	stap_put_text(&s, after);
	stap_sink_close(&s);
	stap_context_fault(c, position);
}

/* A width or precision that a field can have, or a run-time error. */
static s64 stap_field_size(struct stap_context *c, s64 size, s64 least, int position)
{
	if (size < least || size > STAP_MAX_FIELD)
		stap_fault_number(c, position, "", size, 'd', " is too many bytes for a printed field");
	return size;
}

#endif
