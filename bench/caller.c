/* caller N ROUNDS: N calls of target() a round; prints the least ns of CPU time per call. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

__attribute__((noinline, noclone)) void target(long i)
{
	__asm__ volatile("" : : "r"(i) : "memory");
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

int main(int argc, char **argv)
{
	long n = argc > 1 ? atol(argv[1]) : 100000;
	long rounds = argc > 2 ? atol(argv[2]) : 1;
	double best = 1e18;

	while (rounds--) {
		double start = now(), each;

		for (long i = 0; i < n; i++)
			target(i);
		each = (now() - start) / n;
		if (each < best)
			best = each;
	}
	printf("%.2f\n", best);
	return 0;
}
