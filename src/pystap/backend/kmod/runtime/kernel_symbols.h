/* Addresses of symbols of the kernel and its modules: those that handlers ask for are found before
 * the session's first handler runs, those of a module that comes, then. */
#ifndef PYSTAP_KERNEL_SYMBOLS_H
#define PYSTAP_KERNEL_SYMBOLS_H

#include <linux/kprobes.h>

#include "kernel_probes.h"

static unsigned long (*stap_kallsyms)(const char *name); /* which the kernel does not export */
static const char *stap_lacked_symbol;
static bool stap_symbols_followed;

/* Where the function of a kprobe begins: before the instruction that marks entries. */
static u64 stap_entry_of(u64 address)
{
	u32 before;

	if (copy_from_kernel_nofault(&before, (void *)(address - 4), 4))
		return address;
	/* endbr64, and what kernels put there when nothing needs it */
	if (before == 0xfa1e0ff3 || before == 0x001f0f66 || before == 0xd6401f0f)
		return address - 4;
	return address;
}

/* The address of a symbol that is the only one of its name; 0: there is none. */
static u64 stap_symbol_find(const char *name)
{
	struct kprobe k = { .symbol_name = "kallsyms_lookup_name" };

	if (!stap_kallsyms) {
		if (register_kprobe(&k))
			return 0;
		stap_kallsyms = (void *)stap_entry_of((u64)k.addr);
		unregister_kprobe(&k);
	}
	return stap_kallsyms(name);
}

/* One of several symbols that share a name: those that only the module's start needs do not count,
 * for they are not there any more when it has started. */
static u64 stap_symbol_numbered(const struct stap_symbol *symbol, struct module *module)
{
	const struct mod_kallsyms *table = rcu_dereference_raw(module->kallsyms);
	const char *name = strchr(symbol->name, ':') + 1;
	unsigned int i;
	int number = 0;

	for (i = 0; table && i < table->num_symtab; i++) {
		const Elf_Sym *one = &table->symtab[i];

		if (one->st_shndx == SHN_UNDEF || one->st_shndx >= SHN_LORESERVE ||
		    strcmp(table->strtab + one->st_name, name) ||
		    within_module_init(one->st_value, module))
			continue;
		if (number++ == symbol->number)
			return one->st_value;
	}
	return 0;
}

/* A symbol of a module that is not the only one of its name, if it has a number; whether the module
 * is there. */
static bool stap_symbol_in_module(struct stap_symbol *symbol, u64 *address)
{
	struct module *(*find)(const char *name) = (void *)stap_symbol_find("find_module");
	const char *end = strchr(symbol->name, ':');
	char name[MODULE_NAME_LEN];
	struct module *module;

	if (!find)
		return false;
	strscpy(name, symbol->name, min_t(size_t, sizeof(name), end - symbol->name + 1));
	preempt_disable(); /* the module does not go meanwhile */
	module = find(name);
	if (module && symbol->number >= 0)
		*address = stap_symbol_numbered(symbol, module);
	preempt_enable();
	return module;
}

/* Look a symbol up; false: it is nowhere, though its module is there. */
static bool stap_symbol_look(struct stap_symbol *symbol)
{
	u64 address = symbol->number < 0 ? stap_symbol_find(symbol->name) : 0;
	bool there = true;

	if (!address && strchr(symbol->name, ':'))
		there = stap_symbol_in_module(symbol, &address);
	WRITE_ONCE(symbol->address, address);
	return address || !there;
}

static int stap_symbols_change(struct notifier_block *self, unsigned long state, void *data)
{
	const char *module = ((struct module *)data)->name;
	size_t size = strlen(module);
	u32 i;

	for (i = 0; i < stap_script->symbol_count; i++) {
		struct stap_symbol *symbol = &stap_script->symbols[i];

		if (strncmp(symbol->name, module, size) || symbol->name[size] != ':')
			continue;
		if (state == MODULE_STATE_COMING)
			stap_symbol_look(symbol);
		else if (state == MODULE_STATE_GOING)
			WRITE_ONCE(symbol->address, 0);
	}
	return 0;
}

static struct notifier_block stap_symbols_follower = {
	.notifier_call = stap_symbols_change,
	.priority = 1, /* before probes of the module fire */
};

static int stap_symbols_start(void)
{
	u32 i;
	int error;

	if (!stap_script->symbol_count)
		return 0;
	error = register_module_notifier(&stap_symbols_follower);
	if (error)
		return error;
	stap_symbols_followed = true;
	for (i = 0; i < stap_script->symbol_count; i++) {
		struct stap_symbol *symbol = &stap_script->symbols[i];

		if (!stap_symbol_look(symbol)) {
			stap_lacked_symbol = symbol->name;
			return -ENOENT;
		}
	}
	return 0;
}

static void stap_symbols_stop(void)
{
	if (stap_symbols_followed)
		unregister_module_notifier(&stap_symbols_follower);
	stap_symbols_followed = false;
}

#endif
