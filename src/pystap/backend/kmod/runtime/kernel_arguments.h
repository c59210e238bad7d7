/* Registers and arguments of the probed code. */
#ifndef PYSTAP_KERNEL_ARGUMENTS_H
#define PYSTAP_KERNEL_ARGUMENTS_H

#include "kernel_task.h"

static s64 __maybe_unused stap_event_address(struct stap_context *c)
{
	if (c->event->address)
		return c->event->address;
	return c->event->regs ? instruction_pointer(c->event->regs) : 0;
}

static s64 __maybe_unused stap_event_user_mode(struct stap_context *c)
{
	return c->event->regs && user_mode(c->event->regs);
}

static s64 __maybe_unused stap_event_argument(struct stap_context *c, s64 index)
{
	struct pt_regs *regs = c->event->regs;
	s64 value = 0;

	if (!regs)
		return 0;
	switch (index) {
	case 0: return regs->di;
	case 1: return regs->si;
	case 2: return regs->dx;
	case 3: return regs->cx;
	case 4: return regs->r8;
	case 5: return regs->r9;
	}
	stap_memory_read(&value, regs->sp + 8 * (index - 5), 8, user_mode(regs));
	return value;
}

/* By DWARF number. */
static s64 __maybe_unused stap_event_register(struct stap_context *c, s64 index)
{
	struct pt_regs *regs = c->event->regs;

	if (!regs)
		return 0;
	switch (index) {
	case 0: return regs->ax;
	case 1: return regs->dx;
	case 2: return regs->cx;
	case 3: return regs->bx;
	case 4: return regs->si;
	case 5: return regs->di;
	case 6: return regs->bp;
	case 7: return regs->sp;
	case 8: return regs->r8;
	case 9: return regs->r9;
	case 10: return regs->r10;
	case 11: return regs->r11;
	case 12: return regs->r12;
	case 13: return regs->r13;
	case 14: return regs->r14;
	case 15: return regs->r15;
	case 16: return stap_event_address(c);
	case 49: return regs->flags;
	case 51: return regs->cs & 0xffff;
	case 52: return regs->ss & 0xffff;
	}
	return 0;
}

#endif
