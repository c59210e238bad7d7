/* What embedded C of a script may use of the runtime. */
#ifndef PYSTAP_EMBEDDED_H
#define PYSTAP_EMBEDDED_H

#include "memory.h"

#ifdef __KERNEL__
#include <linux/stdarg.h>
#else
#include <stdarg.h>
#endif

#define STAP_OF_CALLER -2

static void __maybe_unused stap_c_error(struct stap_context *c, int position, const char *format,
					...)
{
	va_list words;

	va_start(words, format);
	vsnprintf(c->message, STAP_MESSAGE_SIZE, format, words);
	va_end(words);
	stap_context_fault(c, position);
	if (position == STAP_OF_CALLER) { /* an error of a function is one of the call of it */
		c->fault_depth = c->depth - 1;
		c->position = c->callers[c->fault_depth];
	}
}

/* Output of a call is in one piece, of the size of a record at most. */
static void __maybe_unused stap_c_print(struct stap_context *c, int position, const char *format,
					...)
{
	va_list words;
	int size, tries;

	for (tries = 0; tries < 2; tries++) {
		size_t room = c->out.end - c->out.at;

		va_start(words, format);
		size = vsnprintf(c->out.at, room, format, words);
		va_end(words);
		if (size < room) {
			c->out.at += size;
			return;
		}
		if (c->out.at != c->output)
			stap_output_flush(c, true);
	}
	stap_c_error(c, position, "output of %d bytes is too long for STAP_PRINTF", size);
}

static void __maybe_unused stap_c_warn(struct stap_context *c, const char *format, ...)
{
	va_list words;

	va_start(words, format);
	vsnprintf(c->report, STAP_REPORT_SIZE, format, words);
	va_end(words);
	stap_warn(c->report);
}

/* The kernel lost these two, which scripts have always used. */
static size_t __maybe_unused stap_c_copy(char *to, const char *from, size_t size)
{
	if (size)
		stap_copy_string(to, from, size);
	return strlen(from);
}

static size_t __maybe_unused stap_c_append(char *to, const char *from, size_t size)
{
	size_t used = strnlen(to, size);

	return used + stap_c_copy(to + used, from, size - used);
}

#define strlcpy(to, from, size) stap_c_copy((to), (from), (size))
#define strlcat(to, from, size) stap_c_append((to), (from), (size))

#define CONTEXT stap_c
/* STAP_PLACE and STAP_LEAVE are of the function or the expression. */
#define STAP_ERROR(...) do { stap_c_error(stap_c, STAP_PLACE, __VA_ARGS__); STAP_LEAVE; } while (0)
#define STAP_PRINTF(...) stap_c_print(stap_c, STAP_PLACE, __VA_ARGS__)
#define _stp_printf(...) STAP_PRINTF(__VA_ARGS__)
#define _stp_print(text) stap_put_text(&stap_c->out, (text))
#define _stp_warn(...) stap_c_warn(stap_c, __VA_ARGS__)
#define _stp_error(...) stap_c_error(stap_c, STAP_PLACE, __VA_ARGS__)

/* What a pointer of the kernel points to; an error when there is nothing. */
#define kread(at) ({ \
	__typeof__(*(at)) stap_value; \
	if (!stap_memory_read((void *)&stap_value, (u64)(at), sizeof(stap_value), false)) \
		STAP_ERROR("kernel read fault at %016llx", (unsigned long long)(at)); \
	stap_value; })

#endif
