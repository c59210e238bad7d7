/* reader N ROUNDS: N read(2) calls of one byte of /dev/zero a round; prints the ns per call of each
 * round, one a line. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
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
	long n = argc > 1 ? atol(argv[1]) : 100000;
	long rounds = argc > 2 ? atol(argv[2]) : 1;
	int fd = open("/dev/zero", O_RDONLY);
	char byte;

	while (rounds--) {
		double start = now();

		for (long i = 0; i < n; i++)
			if (read(fd, &byte, 1) != 1)
				return 1;
		printf("%.2f\n", (now() - start) / n);
	}
	return 0;
}
