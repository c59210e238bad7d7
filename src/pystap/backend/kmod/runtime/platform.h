/* What the runtime needs of its surroundings: the kernel, or a process that tests the same code. */
#ifndef PYSTAP_PLATFORM_H
#define PYSTAP_PLATFORM_H

#ifdef __KERNEL__
#include <linux/atomic.h>
#include <linux/cpumask.h>
#include <linux/delay.h>
#include <linux/kernel.h>
#include <linux/ktime.h>
#include <linux/module.h>
#include <linux/percpu.h>
#include <linux/random.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/timekeeping.h>
#include <linux/types.h>
#include <linux/uaccess.h>

#define stap_this_cpu() raw_smp_processor_id()
#define stap_cpu_count() nr_cpu_ids

typedef raw_spinlock_t stap_guard_t;
#define stap_guard_init(g) raw_spin_lock_init(g)
#define stap_guard_take(g, flags) raw_spin_lock_irqsave(g, flags)
#define stap_guard_drop(g, flags) raw_spin_unlock_irqrestore(g, flags)

#include "kernel_memory.h"

#else
#include "process.h"
#endif

#endif
