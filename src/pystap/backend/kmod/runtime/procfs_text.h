/* The text of a file of the session that is being read or written. */
#ifndef PYSTAP_PROCFS_TEXT_H
#define PYSTAP_PROCFS_TEXT_H

#include "string_ops.h"

struct stap_file_text {
	char *bytes;
	u32 size; /* bytes there are: what may be read, and one more string */
	u32 length;
};

static void __maybe_unused stap_file_text(struct stap_context *c, char *to, u32 size)
{
	stap_copy_string(to, c->event->text ? c->event->text->bytes : "", size);
}

/* Put a string behind the text, or in its place; the result of it is the string. */
static void __maybe_unused stap_file_put(struct stap_context *c, char *to, u32 size,
					 const char *string, bool append)
{
	struct stap_file_text *text = c->event->text;
	u32 length = strlen(string);

	if (text) {
		if (!append)
			text->length = 0;
		length = min_t(u32, length, text->size - 1 - text->length);
		memcpy(text->bytes + text->length, string, length);
		text->length += length;
		text->bytes[text->length] = 0;
	}
	stap_copy_string(to, string, size);
}

#endif
