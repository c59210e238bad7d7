/* Variables of the script that can be set when the module is loaded. */
#ifndef PYSTAP_PARAMETERS_H
#define PYSTAP_PARAMETERS_H

#include <linux/moduleparam.h>

#include "session.h"

#define STAP_PARAMETER __used __section("__param") __aligned(__alignof__(struct kernel_param))
#define STAP_MODINFO __used __section(".modinfo") __aligned(1)

/* A number as scripts write it, of up to 64 bits. */
static int stap_number_set(const char *text, const struct kernel_param *parameter)
{
	long long number;
	unsigned long long big;
	int error = kstrtoll(text, 0, &number);

	if (error == -ERANGE && *text != '-') {
		error = kstrtoull(text, 0, &big);
		number = big;
	}
	if (!error)
		atomic64_set((atomic64_t *)parameter->arg, number);
	return error;
}

static const struct kernel_param_ops __maybe_unused stap_number_ops = { .set = stap_number_set };

#endif
