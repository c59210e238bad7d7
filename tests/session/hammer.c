/* hammer N: a thread on each of two CPUs makes N sched_get_priority_max(2) calls, both at once. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static pthread_barrier_t together;
static long calls;

static void *work(void *cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((long)cpu, &set);
	if (sched_setaffinity(0, sizeof set, &set))
		exit(2);
	pthread_barrier_wait(&together);
	for (long i = 0; i < calls; i++)
		syscall(SYS_sched_get_priority_max, SCHED_OTHER);
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t threads[2];

	calls = atol(argv[argc - 1]);
	pthread_barrier_init(&together, NULL, 2);
	for (long cpu = 0; cpu < 2; cpu++)
		if (pthread_create(&threads[cpu], NULL, work, (void *)cpu))
			return 1;
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	return 0;
}
