/* Packets on their way through the kernel. */
#ifndef PYSTAP_KERNEL_NETFILTER_H
#define PYSTAP_KERNEL_NETFILTER_H

#include <linux/netfilter.h>
#include <net/net_namespace.h>

#include "kernel_probes.h"

struct stap_hook {
	int probe;
	u8 family;
	u32 number;
	int priority;
	struct nf_hook_ops ops;
	bool started;
};

static unsigned int stap_hook_passed(void *data, struct sk_buff *packet,
				     const struct nf_hook_state *state)
{
	struct stap_hook *h = data;
	u64 args[2] = { (u64)state, (u64)packet };
	s64 verdict = NF_ACCEPT;
	struct stap_event event = { .args = args, .verdict = &verdict, .has_stack = true };

	preempt_disable();
	stap_probe_hit(h->probe, &event);
	preempt_enable();
	return verdict >= 0 && verdict <= NF_MAX_VERDICT ? verdict : NF_ACCEPT;
}

static int stap_hooks_start(struct stap_hook *hooks, int count)
{
	int i, error;

	for (i = 0; i < count; i++) {
		struct stap_hook *h = &hooks[i];

		h->ops = (struct nf_hook_ops){
			.hook = stap_hook_passed, .priv = h, .pf = h->family,
			.hooknum = h->number, .priority = h->priority,
		};
		error = nf_register_net_hook(&init_net, &h->ops);
		if (error)
			return stap_probe_failed(h->probe, error);
		h->started = true;
	}
	return 0;
}

static void stap_hooks_stop(struct stap_hook *hooks, int count)
{
	int i;

	for (i = 0; i < count; i++)
		if (hooks[i].started)
			nf_unregister_net_hook(&init_net, &hooks[i].ops);
}

#endif
