/* The user-space stack of the current process, and what is known of its addresses.
 *
 * Each step looks for what is mapped at the address, for the row of that file's table, and reads
 * the stack as the row says (pystap/debuginfo/callframes.py).  Code that no row tells about is
 * taken to keep a frame pointer.
 *
 * Of a process of 32 bits, esi and edi are where the rows look for r12 and r13. */
#ifndef PYSTAP_KERNEL_USER_STACK_H
#define PYSTAP_KERNEL_USER_STACK_H

#include <linux/uprobes.h>

#include "kernel_objects.h"

/* A bit of an address in the stack: of an instruction that was interrupted, not to return to. */
#define STAP_EXACT (1ull << 63)
#define STAP_FARTHEST_FRAME (1 << 20)
#define STAP_OUTSTANDING_RETURNS 64 /* that are searched for the one at hand */

/* Registers by DWARF number. */
enum { STAP_BP = 6, STAP_SP = 7, STAP_PC = 16, STAP_USER_REGISTERS };

/* How a row computes the canonical frame address, and where the caller's registers are. */
enum {
	STAP_ROW_UNKNOWN, STAP_ROW_END, STAP_ROW_SIGNAL, STAP_ROW_PLT,
	STAP_ROW_DEREF = 0x40,
};
enum { STAP_SAVED_SAME = 0, STAP_SAVED_AT_FRAME = 126, STAP_SAVED_LOST = 127 };

struct stap_walk {
	struct stap_user_stack *stack;
	u64 reg[STAP_USER_REGISTERS];
	u64 exact; /* STAP_EXACT, or 0 for a return address */
	u32 word; /* bytes of a word of the stack */
	bool in_call; /* of a task of 32 bits: it is in a system call */
	bool found; /* the mapping is that of an address before */
	struct stap_mapping mapping;
};

/* ---- reading the stack ---- */

static bool stap_stack_word(const struct stap_walk *w, u64 *to, u64 address)
{
	*to = 0;
	return stap_memory_read(to, address, w->word, true);
}

/* The return address that a return probe has replaced at a place of the stack, else `found`: the
 * one in its place leads to the first byte of memory of the kernel's own. */
static u64 stap_replaced_return(u64 place, u64 found)
{
#ifdef CONFIG_UPROBES
	const struct return_instance *one;
	const struct uprobe_task *waiting = READ_ONCE(current->utask);
	unsigned long at, original;
	struct stap_mapping m;
	int i;

	if (!waiting || stap_peek(one, waiting->return_instances) || !one ||
	    !stap_mapping_find(&m, found) || m.file || m.start != found)
		return found;
	for (i = 0; one && i < STAP_OUTSTANDING_RETURNS; i++) {
		if (stap_peek(at, one->stack) || stap_peek(original, one->orig_ret_vaddr))
			break;
		if (at == place)
			return original;
		if (stap_peek(one, one->next))
			break;
	}
	return 0;
#else
	return found;
#endif
}

/* End a step: the return address is just below the frame. */
static bool stap_walk_return(struct stap_walk *w, u64 cfa)
{
	u64 address, place = cfa - w->word;

	if (!stap_stack_word(w, &address, place))
		return false;
	address = stap_replaced_return(place, address);
	w->reg[STAP_PC] = address;
	w->reg[STAP_SP] = cfa;
	return address != 0;
}

static bool stap_walk_frame_pointer(struct stap_walk *w)
{
	u64 frame = w->reg[STAP_BP];

	if (frame - w->reg[STAP_SP] >= STAP_FARTHEST_FRAME ||
	    (frame & (w->word - 1)) || !stap_stack_word(w, &w->reg[STAP_BP], frame))
		return false;
	return stap_walk_return(w, frame + 2 * w->word);
}

/* Go on to what called the kernel by __kernel_vsyscall, which saves ecx, edx and ebp. */
static bool stap_walk_system_call(struct stap_walk *w)
{
	u64 here = w->reg[STAP_SP];

	return stap_stack_word(w, &w->reg[STAP_BP], here) && stap_walk_return(w, here + 16);
}

/* Go on to what a signal interrupted: the kernel has put its registers there, as struct ucontext
 * of <asm/ucontext.h> says. */
static bool stap_walk_signal(struct stap_walk *w)
{
	static const u8 numbers[] = { 3, 6, 12, 13, 14, 15, STAP_SP, STAP_PC };
	static const u8 offsets[] = { 128, 120, 72, 80, 88, 96, 160, 168 };
	u64 here = w->reg[STAP_SP];
	int i;

	for (i = 0; i < ARRAY_SIZE(numbers); i++)
		if (!stap_stack_word(w, &w->reg[numbers[i]], here + offsets[i]))
			return false;
	w->exact = STAP_EXACT;
	return true;
}

/* Go on to the caller as a row says. */
static bool stap_walk_row(struct stap_walk *w, const struct stap_unwind_row *row)
{
	static const u8 saved[] = { 3, 6, 12, 13, 14, 15 };
	u64 here = w->reg[STAP_SP], cfa = w->reg[row->kind & 15] + row->offset, place;
	int i;

	if (row->kind == STAP_ROW_PLT)
		cfa = here + ((w->reg[STAP_PC] & 15) >= 11 ? 2 * w->word : w->word);
	else if ((row->kind & ~15) == STAP_ROW_DEREF && !stap_stack_word(w, &cfa, cfa))
		return false;
	if (cfa <= here)
		return false;
	for (i = 0; i < ARRAY_SIZE(saved); i++) {
		u64 *own = &w->reg[saved[i]];

		if (row->saved[i] == STAP_SAVED_SAME)
			continue;
		place = row->saved[i] == STAP_SAVED_AT_FRAME ? *own :
							       cfa + (s64)w->word * row->saved[i];
		if (row->saved[i] == STAP_SAVED_LOST || !stap_stack_word(w, own, place))
			*own = 0;
	}
	return stap_walk_return(w, cfa);
}

/* ---- the stack ---- */

static bool stap_walk_mapping(struct stap_walk *w, u64 address)
{
	if (!w->found || address < w->mapping.start || address >= w->mapping.end)
		w->found = stap_mapping_find(&w->mapping, address);
	return w->found;
}

/* Enter the present address and go on to the caller's; whether there is one. */
static bool stap_walk_step(struct stap_walk *w)
{
	u64 address = w->reg[STAP_PC], inside = address - !w->exact;
	bool mapped = stap_walk_mapping(w, inside);
	const union stap_element *e;
	const struct stap_object *o;

	/* Any number at hand would do for a return address; what is not mapped is none. */
	if (!mapped && !w->exact)
		return false;
	w->stack->frames[w->stack->count++] = address | w->exact;
	if (!mapped)
		return false;
	if (w->in_call && w->exact && w->mapping.inode == STAP_NARROW_VDSO_INODE) {
		w->exact = 0;
		return stap_walk_system_call(w);
	}
	w->exact = 0;
	o = stap_object_of(w->mapping.inode, w->mapping.device);
	if (!o)
		stap_note_unknown(&w->mapping, inside);
	e = !o ? NULL : stap_object_search(o, o->head->rows, o->head->row_count,
					   stap_mapping_offset(&w->mapping, inside));
	switch (e ? e->row.kind : STAP_ROW_UNKNOWN) {
	case STAP_ROW_UNKNOWN:
		return stap_walk_frame_pointer(w);
	case STAP_ROW_END:
		return false;
	case STAP_ROW_SIGNAL:
		return stap_walk_signal(w);
	}
	return stap_walk_row(w, &e->row);
}

/* Begin with the registers with which the task entered the kernel; false for a task of the
 * kernel, and for handlers that the session's own process runs. */
static bool stap_walk_begin(struct stap_walk *w, struct stap_context *c)
{
	const struct pt_regs *r = task_pt_regs(current);

	if (!current->mm || (current->flags & PF_KTHREAD) || c->event->of_session)
		return false;
	*w = (struct stap_walk){
		.stack = &c->user_stack,
		.reg = { r->ax, r->dx, r->cx, r->bx, r->si, r->di, r->bp, r->sp, r->r8, r->r9,
			 r->r10, r->r11, r->r12, r->r13, r->r14, r->r15, r->ip },
		.exact = STAP_EXACT,
		.word = 8,
	};
	if (stap_entered_narrow()) {
		w->word = 4;
		w->in_call = (long)r->orig_ax >= 0;
		w->reg[12] = r->si;
		w->reg[13] = r->di;
	}
	return true;
}

static void stap_walk_all(struct stap_walk *w)
{
	while (w->stack->count < MAXBACKTRACE && stap_walk_step(w))
		;
}

/* Unwind the stack, once for each hit; the number of its frames. */
static s64 __maybe_unused stap_user_frames(struct stap_context *c)
{
	struct stap_walk w;

	if (!c->user_stack.known) {
		c->user_stack.known = true;
		c->user_stack.count = 0;
		if (stap_walk_begin(&w, c))
			stap_walk_all(&w);
	}
	return c->user_stack.count;
}

/* The same from given values; what is asked for without values is another stack. */
static s64 __maybe_unused stap_user_frames_from(struct stap_context *c, u64 pc, u64 sp, u64 bp)
{
	struct stap_walk w;

	c->user_stack.known = false;
	c->user_stack.count = 0;
	if (stap_walk_begin(&w, c)) {
		w.reg[STAP_PC] = pc;
		w.reg[STAP_SP] = sp;
		w.reg[STAP_BP] = bp;
		stap_walk_all(&w);
	}
	return c->user_stack.count;
}

static s64 __maybe_unused stap_user_frame(struct stap_context *c, s64 number)
{
	return number >= 0 && number < c->user_stack.count ? c->user_stack.frames[number] : 0;
}

/* ---- names of addresses ---- */

static void stap_user_symbol(struct stap_user_place *p, const struct stap_object *o, u64 offset,
			     u64 back)
{
	const union stap_element *e =
		stap_object_search(o, o->head->symbols, o->head->symbol_count, offset);

	if (!e || (e->word[1] && offset >= (u64)e->word[0] + e->word[1]))
		return;
	p->offset = offset + back - e->word[0];
	p->size = e->word[1];
	p->name = stap_object_name(o, e->word[2]);
}

static void stap_user_source(struct stap_user_place *p, const struct stap_object *o, u32 file,
			     u32 line)
{
	p->line = line;
	p->file = file ? stap_object_name(o, file) : NULL;
}

/* Find what is known of an address; what `back` bytes before it belongs to counts.  1 when it is
 * in a file, or in what the kernel maps. */
static s64 __maybe_unused stap_user_place(struct stap_context *c, u64 address, s64 back)
{
	struct stap_user_place *p = &c->user_place;
	const union stap_element *e;
	const struct stap_object *o;
	struct stap_mapping m;
	u64 offset;

	*p = (struct stap_user_place){ .address = address };
	if (!stap_mapping_find(&m, address - back) || m.inode <= STAP_NARROW_VDSO_INODE)
		return 0;
	offset = stap_mapping_offset(&m, address - back);
	p->base = stap_mapping_offset(&m, 0);
	p->module_offset = offset + back;
	p->module = stap_mapping_name(&m);
	o = stap_object_of(m.inode, m.device);
	if (!o) {
		stap_note_unknown(&m, address - back);
		return 1;
	}
	p->object = o;
	p->module_offset += o->head->delta;
	p->module_size = o->head->size;
	p->module = stap_object_name(o, o->head->path);
	stap_user_symbol(p, o, offset, back);
	e = stap_object_search(o, o->head->places, o->head->place_count, offset);
	if (e) {
		stap_user_source(p, o, e->word[1], e->word[2]);
		p->call = e->word[3];
	}
	return 1;
}

/* Go on to the next inlined function around the address found last, innermost first: 1 when there
 * is one.  The file and line become those of its call. */
static s64 __maybe_unused stap_user_inlined(struct stap_context *c)
{
	struct stap_user_place *p = &c->user_place;
	const struct stap_object *o = p->object;
	const union stap_element *e;

	if (!p->call || !o || p->call > o->head->call_count)
		return 0;
	e = &o->elements[o->head->calls + 2 * (p->call - 1)];
	p->inlined_name = stap_object_name(o, e->word[0]);
	p->inlined_offset = p->base + p->address - e->word[1];
	p->inlined_size = e->word[2];
	p->call = e->word[3];
	p->inlined_file = p->file;
	p->inlined_line = p->line;
	stap_user_source(p, o, e[1].word[0], e[1].word[1]);
	return 1;
}

/* A name that was found, empty when it is not known. */
static void __maybe_unused stap_user_text(char *to, u32 size, const char *from)
{
	if (!from || !stap_read_string(to, size, (u64)from, size - 1, false))
		*to = 0;
}

#endif
