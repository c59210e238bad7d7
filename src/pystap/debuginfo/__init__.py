"""Readers of debug information: kernel BTF, ELF symbols, kallsyms."""
