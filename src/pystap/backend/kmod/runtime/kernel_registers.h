/* Guru: changes of the registers that an event came with.  They take effect when it goes on. */
#ifndef PYSTAP_KERNEL_REGISTERS_H
#define PYSTAP_KERNEL_REGISTERS_H

#include "memory.h"

/* By DWARF number; the stack pointer and the place of execution stay as they are. */
static unsigned long *stap_register_place(struct pt_regs *regs, s64 index)
{
	if (!regs)
		return NULL;
	switch (index) {
	case 0: return &regs->ax;
	case 1: return &regs->dx;
	case 2: return &regs->cx;
	case 3: return &regs->bx;
	case 4: return &regs->si;
	case 5: return &regs->di;
	case 6: return &regs->bp;
	case 8: return &regs->r8;
	case 9: return &regs->r9;
	case 10: return &regs->r10;
	case 11: return &regs->r11;
	case 12: return &regs->r12;
	case 13: return &regs->r13;
	case 14: return &regs->r14;
	case 15: return &regs->r15;
	}
	return NULL;
}

static void __maybe_unused stap_event_set_register(struct stap_context *c, s64 index, s64 value,
						   int position)
{
	unsigned long *place = stap_register_place(c->event->regs, index);

	if (place)
		*place = value;
	else
		stap_fault_number(c, position, "register write fault: DWARF register ", index, 'd',
				  "");
}

/* An integer argument of a function that has just been entered. */
static void __maybe_unused stap_event_set_argument(struct stap_context *c, s64 index, s64 value,
						   int position)
{
	static const u8 numbers[] = { 5, 4, 1, 2, 8, 9 };
	struct pt_regs *regs = c->event->regs;

	if (index < ARRAY_SIZE(numbers) || !regs)
		stap_event_set_register(c, regs ? numbers[index] : -1, value, position);
	else
		stap_memory_store(c, regs->sp + 8 * (index - 5), 8, value, user_mode(regs),
				  position);
}

static void __maybe_unused stap_event_set_syscall_argument(struct stap_context *c, s64 index,
							   s64 value, int position)
{
	static const u8 numbers[] = { 5, 4, 1, 10, 8, 9 };

	stap_event_set_register(c, numbers[index], value, position);
}

static void __maybe_unused stap_event_set_result(struct stap_context *c, s64 value, int position)
{
	stap_event_set_register(c, 0, value, position);
}

#endif
