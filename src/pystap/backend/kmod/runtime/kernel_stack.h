/* The kernel's stack, and names of its addresses. */
#ifndef PYSTAP_KERNEL_STACK_H
#define PYSTAP_KERNEL_STACK_H

#include <linux/stacktrace.h>
#include <asm/unwind.h>

#include "kernel_task.h"

/* From where the registers are; the unwinder begins with the caller. */
static int stap_stack_from(struct pt_regs *regs, u64 address, unsigned long *frames)
{
	struct unwind_state state;
	int count = 1;

	frames[0] = address ? address : regs->ip;
	for (unwind_start(&state, current, regs, NULL);
	     count < STAP_STACK_FRAMES && !unwind_done(&state); unwind_next_frame(&state)) {
		unsigned long address = unwind_get_return_address(&state);

		if (!address)
			break;
		frames[count++] = address;
	}
	return count;
}

/* From what called this module. */
static int stap_stack_here(unsigned long *frames)
{
	unsigned long all[STAP_STACK_FRAMES + 8];
	int i = 0, count = stack_trace_save(all, ARRAY_SIZE(all), 0);

	while (i < count && within_module(all[i], THIS_MODULE))
		i++;
	count = min_t(int, count - i, STAP_STACK_FRAMES);
	memcpy(frames, all + i, count * sizeof(*frames));
	return count;
}

/* An address in a frame of the event's kernel stack, 0 behind the last. */
static s64 __maybe_unused stap_stack_frame(struct stap_context *c, s64 number)
{
	const struct stap_event *event = c->event;

	if (c->stack_count < 0) {
		c->stack_count = 0;
		if (event->has_stack)
			c->stack_count = stap_stack_here(c->stack);
		else if (event->regs && !user_mode(event->regs))
			c->stack_count = stap_stack_from(event->regs, event->address, c->stack);
	}
	number &= STAP_STACK_FRAMES - 1;
	return number < c->stack_count ? c->stack[number] : 0;
}

/* Function; "0xffff..." where there is none.  " [module]" behind. */
static void __maybe_unused stap_kernel_symbol(char *to, u32 size, s64 address)
{
	snprintf(to, size, "%ps", (void *)address);
}

/* Function+offset/size. */
static void __maybe_unused stap_kernel_symbol_data(char *to, u32 size, s64 address)
{
	snprintf(to, size, "%pS", (void *)address);
}

#endif
