/* Locks of globals: many readers, many who only add, or one writer. */
#ifndef PYSTAP_LOCK_H
#define PYSTAP_LOCK_H

#include "context.h"

/* Readers count by 1, those who add by ADDER, a writer is WRITER. */
#define STAP_LOCK_READER 1ll
#define STAP_LOCK_ADDER (1ll << 20)
#define STAP_LOCK_WRITER (1ll << 40)

struct stap_lock {
	atomic64_t word;
	atomic64_t failures, contended;
} __aligned(64);

static bool stap_lock_take(struct stap_lock *l, s64 kind)
{
	s64 others = kind == STAP_LOCK_READER ? ~(STAP_LOCK_ADDER - 1) :
		     kind == STAP_LOCK_ADDER ? ~((STAP_LOCK_WRITER - 1) & ~(STAP_LOCK_ADDER - 1)) : -1;
	int tries;

	for (tries = 0; tries <= MAXTRYLOCK; tries++) {
		s64 now = atomic64_read(&l->word);

		while (!(now & others))
			if (atomic64_try_cmpxchg(&l->word, &now, now + kind))
				return true;
		if (STAP_TIMING && !tries)
			atomic64_add(1, &l->contended);
		udelay(TRYLOCKDELAY);
	}
	atomic64_add(1, &l->failures);
	return false;
}

static void stap_lock_drop(struct stap_lock *l, s64 kind)
{
	atomic64_add(-kind, &l->word);
}

#endif
