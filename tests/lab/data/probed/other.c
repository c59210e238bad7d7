/* The other half: a function that has the name of one in work.c. */
#include <linux/compiler.h>

#include "probed.h"

static int volatile probed_calls = 70;
static long volatile other_sink;

static noinline int twin(int n)
{
	other_sink = n;
	return n - 1;
}

noinline int probed_other(struct pair pair, int n)
{
	probed_calls++;
	other_sink = twin(pair.first + n); /* LINE other */
	return pair.second + probed_calls;
}
