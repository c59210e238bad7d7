/* load N [ROUNDS [RATE]]: N getppid(2) calls a round; prints the least ns per call of the rounds.
 * With RATE, calls are paced to that many a second. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

int main(int argc, char **argv)
{
	long n = argc > 1 ? atol(argv[1]) : 1000000;
	long rounds = argc > 2 ? atol(argv[2]) : 1;
	double rate = argc > 3 ? atof(argv[3]) : 0;
	double best = 1e18;

	for (long r = 0; r < rounds; r++) {
		double start = now();
		for (long i = 0; i < n; i++) {
			syscall(SYS_getppid);
			if (rate && i % 100 == 0)
				while (now() - start < i * 1e9 / rate)
					;
		}
		double each = (now() - start) / n;
		if (each < best)
			best = each;
	}
	printf("%.2f\n", best);
	return 0;
}
