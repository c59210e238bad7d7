"""A made-up kernel with debug information and a module, compiled for the tests, that seem to be
loaded: what /proc/kallsyms would say, at addresses other than those in the files."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from pystap.debuginfo.btffile import BtfMissing
from pystap.debuginfo.elf import SHT_SYMTAB, Elf
from pystap.debuginfo.functions import FunctionTable
from pystap.diag.diagnostic import Diagnostics
from pystap.probes.base import ProbeEnv

MOVED = 0x1C000000  # how far from its own addresses the kernel lies
LOADED = 0xFFFFFFFFC0100000  # where the module does
_KERNEL = 0xFFFFFFFF81000000
_SECTION, _FILE = 3, 4  # kinds of symbols

VMLINUX = """\
asm(".text\\n.globl _stext\\n_stext:\\n.previous");
struct node { int value; struct node *next; struct hidden *far; };
enum colour { RED, GREEN = 5 };
static int counter = 3;
int total;
extern int later;
int later = 9;
static struct node table[4];
volatile long sink;
__attribute__((const)) int dropped(int n);

static inline __attribute__((always_inline)) int doubled(int v)
{
	return 2 * v; /* LINE doubled */
}

static __attribute__((noinline)) int twin(int n)
{
	sink = n;
	return n + counter;
}

__attribute__((noinline)) int work(struct node *node, int n, enum colour colour) /* LINE work */
{
	int sum = doubled(n);

	total += later + table[n].value; /* LINE total */
	sink = sum; /* LINE sink */
	if (sum > 100)
		goto out;
	sum += twin(node->value) + colour;
out:
	sink = sum; /* LINE out */
	return sum + counter++;
}

int both(struct node *unused, int v)
{
	sink = v;
	return v + 1;
}

__attribute__((noinline)) int quiet(int n)
{
	sink = n;
	return n;
}

int _start(void)
{
	return work(table, 3, GREEN) + doubled(counter) + quiet(4) + both(table + dropped(3), 2);
}
"""
OTHER = """\
static int counter = 70;
extern volatile long sink;
static __attribute__((noinline)) int twin(int n)
{
	sink = counter;
	return n - 1;
}
int dropped(int n) { return n * 3; }
int other(int n) { return twin(n) + counter++; }
"""
MODULE = """\
extern volatile long sink;
static int counter = 5;
static int zeros[3];
__attribute__((noinline)) int extra_open(int flags)
{
	sink = flags; /* LINE flags */
	counter += zeros[flags & 1]++;
	return flags + counter;
}
int extra_last(int n) { return extra_open(n) + 1; }
__attribute__((section(".init.text"))) int extra_begin(void) { return extra_open(1); }
"""
_FLAGS = "-O2 -g -ffreestanding -fno-pic -fno-stack-protector -mcmodel=kernel -fcf-protection=none"


def line(source: str, mark: str) -> int:
    """The number of the line with a mark."""
    return next(n for n, text in enumerate(source.splitlines(), 1) if f"/* LINE {mark} */" in text)


class MadeUp:
    """The files of the kernel in a directory, which ``-r`` would name, and its module."""

    def __init__(self, home: Path, release: str = "") -> None:
        """``release`` is that of the machine if not given."""
        self.home = home
        (home / "include/generated").mkdir(parents=True)
        text = f'#define UTS_RELEASE "{release or os.uname().release}"\n'
        (home / "include/generated/utsrelease.h").write_text(text)
        self.vmlinux, self.module = home / "vmlinux", home / "extra.ko"
        _compile(home, "work.c", VMLINUX)
        _compile(home, "sub/other.c", OTHER)
        _compile(home, "extra.c", MODULE)
        _run(home, "ld", "-nostdlib", "-static", "--build-id", f"-Ttext={_KERNEL:#x}",
             "-o", "vmlinux", "work.o", "sub/other.o")  # fmt: skip
        _run(home, "ld", "-r", "--build-id", "-o", "extra.ko", "extra.o")
        self.addresses: dict[str, list[int]] = {}
        (home / "kallsyms").write_text("".join(sorted(self._kallsyms())))
        (home / "blacklist").write_text("0x1-0x2\tquiet\n")

    def env(self) -> ProbeEnv:
        """What probe families ask."""
        table = FunctionTable(
            str(self.home / "kallsyms"), lambda: None, str(self.home / "blacklist")
        )
        env = ProbeEnv(btf=_no_btf, diags=Diagnostics(), functions=table)
        env.release = str(self.home)
        return env

    def _kallsyms(self) -> list[str]:
        lines = []
        for path, base, owner in ((self.vmlinux, MOVED, ""), (self.module, LOADED, "extra")):
            with Elf(str(path)) as elf:
                starts = self._laid_out(elf) if owner else {}
                for symbol in elf.symbols(SHT_SYMTAB):
                    if not symbol.section or symbol.kind in (_SECTION, _FILE):
                        continue
                    if owner and symbol.section not in starts:
                        continue  # what only runs at the start is gone
                    place = base + symbol.value + starts.get(symbol.section, 0)
                    self.addresses.setdefault(symbol.name, []).append(place)
                    kind = "t" if symbol.kind in (0, 2) else "d"
                    tail = f"\t[{owner}]" if owner else ""
                    lines.append(f"{place:016x} {kind} {symbol.name}{tail}\n")
        for places in self.addresses.values():
            places.sort()
        return lines

    @staticmethod
    def _laid_out(elf: Elf) -> dict[int, int]:
        """Where the sections of the module lie, far apart."""
        kept = (".text", ".data", ".bss")
        return {n: 0x10000 * n for n, s in enumerate(elf.sections()) if s.name in kept}


def compiled(path: Path, *sources: str) -> None:
    """Make a module of sources, ``a.c`` and so on."""
    names = [f"{'abcdef'[i]}.c" for i in range(len(sources))]
    for name, source in zip(names, sources, strict=True):
        _compile(path.parent, name, source)
    objects = [name.replace(".c", ".o") for name in names]
    _run(path.parent, "ld", "-r", "--build-id", "-o", path.name, *objects)


def _no_btf() -> object:
    raise BtfMissing("/nonexistent", "made up")


def _compile(home: Path, name: str, source: str) -> None:
    file = home / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(source)
    _run(home, "gcc", *_FLAGS.split(), "-c", "-o", str(file.with_suffix(".o")), name)


def _run(home: Path, *words: str) -> None:
    done = subprocess.run(words, cwd=home, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
