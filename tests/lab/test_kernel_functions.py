"""Probes on functions of the kernel fire as often as the functions are called, and see what they
are called with and what they return; whatever mechanism serves them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from stap import PYTHON, Done, stap

pytestmark = pytest.mark.lab

_SECONDS = 300
_CALLS, _SIZE = 100, 4321

_READS = f"""
import os
f = os.open(__file__, os.O_RDONLY)
for number in range({_CALLS}):
    os.pread(f, {_SIZE} + number % 2, 7)
"""


def run(tmp_path: Path, program: str, *words: str | Path) -> Done:
    """A session whose target is a Python program."""
    path = tmp_path / "program.py"
    path.write_text(program)
    done = stap(*words, "-c", f"{PYTHON} -IS {path}", timeout=_SECONDS)
    assert done.status == 0, done.err
    return done


def symbol(name: str) -> int:
    """The address of a function."""
    for line in Path("/proc/kallsyms").read_text().splitlines():
        address, _, found = line.split()[:3]
        if found == name:
            return int(address, 16)
    raise LookupError(name)


def mechanisms(done: Done) -> set[str]:
    """How probes were attached, as -v tells."""
    return set(re.findall(r"^Pass 4: .*: (fentry/fexit|kprobe\.multi|kprobe),", done.err, re.M))


@pytest.fixture(autouse=True)
def _nothing_stays() -> object:
    yield
    assert Path("/sys/kernel/debug/kprobes/list").read_text() == ""
    assert Path("/sys/kernel/tracing/enabled_functions").read_text() == ""


def test_entry_by_trampoline_and_by_kprobe(tmp_path: Path) -> None:
    script = f"""
    global typed, plain
    probe kernel.function("vfs_read").call {{
      if (pid() == target() && $count >= {_SIZE} && $count <= {_SIZE + 1})
        typed[$count, $pos != 0]++
    }}
    probe kprobe.function("vfs_read") {{
      if (pid() == target() && register("rdx") == ulong_arg(3)
          && ulong_arg(3) >= {_SIZE} && ulong_arg(3) <= {_SIZE + 1})
        plain[ulong_arg(3), addr() == {symbol("vfs_read")}, probefunc(), probemod()]++
    }}
    probe end {{
      foreach ([c+, p] in typed) println(c, " ", p, " ", typed[c, p])
      foreach ([c+, a, f, m] in plain)
        println(c, " ", a, " ", f, " ", m, " ", plain[c, a, f, m])
    }}
    """
    done = run(tmp_path, _READS, "-v", "-e", script)
    half = _CALLS // 2
    assert done.out.splitlines() == [
        f"{_SIZE} 1 {half}",
        f"{_SIZE + 1} 1 {half}",
        f"{_SIZE} 1 vfs_read kernel {half}",
        f"{_SIZE + 1} 1 vfs_read kernel {half}",
    ]
    assert mechanisms(done) == {"fentry/fexit", "kprobe"}


def test_return_with_what_there_was_at_the_entry(tmp_path: Path) -> None:
    script = f"""
    global typed, plain
    probe kernel.function("vfs_read").return {{
      if (pid() == target() && $count >= {_SIZE} && $count <= {_SIZE + 1})
        typed[$count, $return, kernel_string($file->f_path->dentry->d_name->name),
              @entry($$parms) == $$parms, $$return]++
    }}
    probe kprobe.function("vfs_read").return {{
      if (pid() == target() && @entry(ulong_arg(3)) == {_SIZE})
        plain[returnval(), is_return(), probe_type(), caller_addr() == addr()]++
    }}
    probe end {{
      foreach ([c+, r, n, s, t] in typed)
        println(c, " ", r, " ", n, " ", s, " ", t, " ", typed[c, r, n, s, t])
      foreach ([r, i, t, a] in plain) println(r, " ", i, " ", t, " ", a, " ", plain[r, i, t, a])
    }}
    """
    done = run(tmp_path, _READS, "-v", "-e", script)
    got = len(_READS) - 7
    half = _CALLS // 2
    assert done.out.splitlines() == [
        f"{_SIZE} {got} program.py 1 return={got:#x} {half}",
        f"{_SIZE + 1} {got} program.py 1 return={got:#x} {half}",
        f"{got} 1 kretprobe 1 {half}",
    ]


def test_many_functions(tmp_path: Path, lab_kernel: str) -> None:
    script = f"""
    global called
    probe kernel.function("vfs_*") {{
      if (pid() == target() && ulong_arg(3) == {_SIZE}) called[ppfunc()]++
    }}
    probe kernel.function("vfs_*").return {{ if (pid() == target()) called[pp()]++ }}
    probe end {{
      println(called["vfs_read"])
      println(called["kernel.function(\\"vfs_read\\").return"] >= {_CALLS})
    }}
    """
    done = run(tmp_path, _READS, "-v", "-e", script)
    assert done.out.splitlines() == [str(_CALLS // 2), "1"]
    assert mechanisms(done) == {"kprobe" if lab_kernel == "6.1" else "kprobe.multi"}


def test_registers_and_stack(tmp_path: Path) -> None:
    script = f"""
    probe kernel.function("vfs_read") {{
      if (pid() == target() && $count == {_SIZE}) {{
        print_backtrace(); print_regs(); println(caller()); println(backtrace())
        print(sprint_backtrace()); println(symname(stack(1)), " ", modname(stack(1)))
        print_syms(callers(1)); println(symfileline(addr()) == sprintf("%#x", addr()))
        exit()
      }}
    }}
    """
    lines = run(tmp_path, _READS, "-e", script).out.splitlines()
    start = symbol("vfs_read")
    assert re.fullmatch(rf" {start:#x} : vfs_read\+0x0/0x[0-9a-f]+ \[kernel\]", lines[0]), lines
    caller = re.fullmatch(
        r" (0x[0-9a-f]+) : (\w*pread64)\+0x[0-9a-f]+/0x[0-9a-f]+ \[kernel\]", lines[1]
    )
    assert caller, lines
    at = next(n for n, line in enumerate(lines) if line.startswith("RIP: "))
    assert lines[at] == f"RIP: {start:016x}"
    registers = dict(re.findall(r"(\w+): ([0-9a-f]+)", " ".join(lines[at : at + 8])))
    assert int(registers["RDX"], 16) == _SIZE
    assert int(registers["CS"], 16) == 0x10
    rest = lines[at + 8 :]
    assert rest[0] == f"{caller[2]} {caller[1]}"
    addresses = rest[1].split()
    assert addresses[:2] == [f"{start:#x}", caller[1]]
    assert len(addresses) == at
    assert rest[2 : 2 + at] == [line.partition(" : ")[2] for line in lines[:at]]
    assert rest[2 + at] == f"{caller[2]} kernel"
    assert rest[3 + at : 5 + at] == lines[:2]
    assert rest[5 + at :] == ["1"]


def test_arguments_on_the_stack(tmp_path: Path) -> None:
    program = """
import mmap
with open(__file__ + ".data", "wb+") as file:
    file.truncate(8 * 4096)
    mmap.mmap(file.fileno(), 5 * 4096, mmap.MAP_PRIVATE, mmap.PROT_READ, offset=3 * 4096)
"""
    script = """
    probe kernel.function("do_mmap") {
      if (pid() == target() && $pgoff == 3 && $len == 5 * 4096 && $prot == 1)
        println($len, " ", $pgoff, " ", $populate != 0)
    }
    """
    done = run(tmp_path, program, "-v", "-e", script)
    assert done.out == f"{5 * 4096} 3 1\n", done.err
    assert mechanisms(done) == {"kprobe"}


def test_module(tmp_path: Path) -> None:
    program = "for _ in range(3): open(__file__).close()"
    script = """
    global opened, returned
    probe module("overlay").function("ovl_open") {
      if (pid() == target()
          && kernel_string($file->f_path->dentry->d_name->name) == "program.py") {
        if (!opened++) println(probemod(), " ", ppfunc())
      }
    }
    probe kprobe.module("overlay").function("ovl_open").return {
      if (pid() == target()) returned[returnval()]++
    }
    probe end { println(opened, " ", returned[0] >= opened) }
    """
    done = run(tmp_path, program, "-e", script)
    first, last = done.out.splitlines()
    assert first == "overlay ovl_open"
    count, enough = last.split()
    assert int(count) >= 3
    assert enough == "1"


def test_by_address(tmp_path: Path) -> None:
    at = symbol("vfs_read")
    script = f"""
    global calls, hits
    probe kernel.function({at:#x}) {{ if (pid() == target() && $count == {_SIZE}) calls++ }}
    probe kernel.statement({at:#x}).absolute {{
      if (pid() == target() && ulong_arg(3) == {_SIZE}) hits++
    }}
    probe end {{ println(calls, " ", hits) }}
    """
    assert run(tmp_path, _READS, "-g", "-e", script).out == f"{_CALLS // 2} {_CALLS // 2}\n"


def test_one_of_several_of_a_name(tmp_path: Path) -> None:
    """Functions of one name are told apart by their addresses."""
    counts: dict[str, int] = {}
    for line in Path("/proc/kallsyms").read_text().splitlines():
        fields = line.split()
        if len(fields) == 3 and fields[1] in "tT":
            counts[fields[2]] = counts.get(fields[2], 0) + 1
    traced = Path("/sys/kernel/tracing/available_filter_functions").read_text().split("\n")
    # those of sysfs attributes are many, and harmless
    shown = sorted(name for name in counts if name.endswith("_show"))
    name = next(n for n in shown if counts[n] == traced.count(n) == 2)
    script = f'global n probe kernel.function("{name}") {{ n++ }} probe timer.ms(1) {{ exit() }}'
    done = stap("-v", "-e", script, timeout=_SECONDS)
    assert done.status == 0, done.err
    assert f'kernel.function("{name}") and 1 more: ' in done.err
    assert "registration error" not in done.err


def test_exported_and_refused() -> None:
    done = stap("-l", 'kernel.function("kmem_cache_alloc*").exported', timeout=_SECONDS)
    assert done.status == 0, done.err
    names = re.findall(r'^kernel\.function\("(\w+)"\)\.exported$', done.out, re.M)
    listed = Path("/proc/kallsyms").read_text()
    assert names
    assert all(f" __ksymtab_{name}\n" in listed for name in names)
    done = stap("-l", 'kernel.function("vfs_read").exported', timeout=_SECONDS)
    assert (done.status == 0) == (" __ksymtab_vfs_read\n" in listed)
    done = stap("-l", 'kernel.function("asm_exc_page_fault")', timeout=_SECONDS)
    assert done.status == 1
    assert "cannot be probed: the kernel forbids it (kprobes/blacklist)" in done.err


def test_why_a_function_cannot_be_probed() -> None:
    names = [line.split()[1:] for line in Path("/proc/kallsyms").read_text().splitlines()]
    code = {words[1] for words in names if words[0] in "tT" and len(words) == 2}
    filters = Path("/sys/kernel/tracing/available_filter_functions").read_text().split("\n")
    blacklist = Path("/sys/kernel/debug/kprobes/blacklist").read_text().splitlines()
    silent = code - set(filters) - {line.split("\t")[1] for line in blacklist}
    plain = sorted(n for n in silent if re.fullmatch(r"[a-z][a-z0-9_]*", n) and "text" not in n)
    altered = next(n for n in filters if ".isra." in n and n.partition(".")[0] not in code)
    stub = next(n for n in sorted(code) if n.endswith(".cold") or n.startswith("__pfx_"))
    reasons = {
        plain[0]: f"function '{plain[0]}' cannot be probed: the kernel was built without a place"
        " for probes in it (notrace)",
        stub: "it is a part of a function or a stub that the compiler made",
        altered.partition(".")[0]: f"the compiler altered it.*hint: it became {altered}",
        "vfs_raed": "no function 'vfs_raed'.*hint: did you mean vfs_read",
        "zzzz_qqqq_xxxx": "no function 'zzzz_qqqq_xxxx'.*hint: the compiler may have inlined it",
    }
    for name, reason in reasons.items():
        done = stap("-p2", "-e", f'probe kernel.function("{name}") {{ exit() }}', timeout=_SECONDS)
        assert done.status == 1
        assert re.search(reason.replace("(", r"\(").replace(")", r"\)"), done.err, re.S), done.err


def test_all_that_can_be_probed_is_listed() -> None:
    traced = Path("/sys/kernel/tracing/available_filter_functions").read_text().split("\n")
    forbidden = {
        line.split("\t")[1]
        for line in Path("/sys/kernel/debug/kprobes/blacklist").read_text().splitlines()
    }
    known = {
        line.split()[2]
        for line in Path("/proc/kallsyms").read_text().splitlines()
        if "\t" not in line
    }
    wanted = {name for name in traced if " [" not in name} & known - forbidden
    wanted = {name for name in wanted if not re.search(r"\.cold(\.\d+)?$", name)}
    done = stap("-l", 'kernel.function("*")', timeout=_SECONDS)
    listed = set(re.findall(r'^kernel\.function\("([^"]+)"\)$', done.out, re.M))
    assert listed == wanted
