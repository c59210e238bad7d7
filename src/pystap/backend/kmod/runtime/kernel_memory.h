/* Memory of a session: asked for at its start only, within what the machine can spare. */
#ifndef PYSTAP_KERNEL_MEMORY_H
#define PYSTAP_KERNEL_MEMORY_H

#include <linux/mm.h>
#include <linux/vmalloc.h>

#define STAP_HARMLESS (64ull << 20) /* bytes that are not worth looking at what is available */

static u64 stap_memory_used;
static int stap_memory_error = -ENOMEM; /* why there was none */

/* Whether so much more may be taken: not beyond STP_MAXMEMORY, and half of what is available at
 * most.  A request that is too large brings other programs down before it fails. */
static bool stap_memory_allows(u64 size)
{
	u64 used = stap_memory_used + size;

	if (STP_MAXMEMORY && used > STP_MAXMEMORY * 1024ull) {
		stap_memory_error = -EDQUOT;
		return false;
	}
	if (used > STAP_HARMLESS && size > ((u64)si_mem_available() << PAGE_SHIFT) / 2)
		return false;
	stap_memory_used = used;
	return true;
}

/* Zeroed memory, NULL without a message of the kernel when there is not enough. */
static void *stap_memory_get(u64 size)
{
	if (!stap_memory_allows(size))
		return NULL;
	return __vmalloc(size, GFP_KERNEL | __GFP_ZERO | __GFP_NOWARN | __GFP_RETRY_MAYFAIL);
}

/* The same near a CPU, not zeroed. */
static void *stap_memory_get_near(u64 size, int cpu)
{
	return stap_memory_allows(size) ? vmalloc_node(size, cpu_to_node(cpu)) : NULL;
}

static void stap_memory_put(void *at)
{
	vfree(at);
}

#endif
