"""Places in the source of a module: probes there fire as often as the code runs, and see its
parameters, locals and globals, as a model of the module in Python says."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from stap import Done, stap

from .modules import Modules
from .sources import SourceModule

pytestmark = pytest.mark.lab

PROBED = SourceModule("probed")
ASKED = ((4, -3), (2, -9), (3, 5))  # what is written to the module: counts and levels
COMMAND = "sh -c '" + "; ".join(f"echo {n} {level} > /proc/probed" for n, level in ASKED) + "'"
_SECONDS = 300


def line(mark: str, file: str = "work.c") -> int:
    """The number of the line with a mark."""
    lines = (PROBED.directory / file).read_text().splitlines()
    return next(n for n, text in enumerate(lines, 1) if f"/* LINE {mark} */" in text)


class Model:
    """What the module does with one request."""

    def __init__(self, n: int, level: int, calls: int, total: int) -> None:
        self.n, self.level, self.calls = n, level, calls
        self.loops = []  # i, part and the sum before, of each round
        total_now, total_sum = total, 0
        for i in range(n):
            total_now += i
            self.loops.append((i, 2 * i, total_sum))
            total_sum += 2 * i + level
        self.total = total_now
        self.sum = total_sum + n * n
        self.failed = self.sum < 0
        self.result = -22 if self.failed else self.sum
        self.other = -7 + 70 + calls
        self.in_end = self.result + self.other + (n + 1) + self._scaled(n)
        self.in_end += self._scaled(self.result)  # the compiler calls in the order of the text

    def _scaled(self, n: int) -> int:
        return 3 * n + self.total


def models() -> list[Model]:
    """Those of all requests, as if nothing had been asked of the module before."""
    found: list[Model] = []
    for number, (n, level) in enumerate(ASKED, 1):
        found.append(Model(n, level, number, found[-1].total if found else 0))
    return found


@pytest.fixture
def probed(modules: Modules) -> Iterator[Path]:
    """The module, loaded: its file."""
    path = modules.build(PROBED)
    subprocess.run(["insmod", path], check=True)
    try:
        yield path
    finally:
        subprocess.run(["rmmod", "probed"], check=True)
    assert Path("/sys/kernel/debug/kprobes/list").read_text() == ""


def run(path: Path, script: str, *words: str) -> Done:
    """A session in which the requests are made; ``M`` in the script stands for the module."""
    script = script.replace("M.", f'module("{path}").')
    done = stap(*words, "-c", COMMAND, "-e", script, timeout=_SECONDS)
    assert done.status == 0, done.err
    assert "WARNING" not in done.err, done.err
    return done


def test_functions(probed: Path) -> None:
    script = """
    probe M.function("probed_work") {
      println("work ", $n, " ", $t->kind, " ", $t->level, " ", $t->wide, " ", $t->num, " ",
              $t->x, " ", $t->y, " ", $t->list[2]->a, " ", $t->list[1]->b, " ", $t->shade, " ",
              $t->next->num, " ", kernel_string($t->next->name), " ", kernel_string($label),
              " ", $t->shade == $DARK)
    }
    probe M.function("probed_work").return {
      println("worked ", $return, " ", $n, " ", @entry($t->level))
    }
    probe M.function("squared") { println("squared ", $v, " ", $half) }
    probe M.function("*@work.c").inline { println("inline ", $v) }
    probe M.function("leaf").call { println("leaf ", $n, " ", $$parms) }
    probe M.function("twin@work.c") { println("twin of work ", $n) }
    probe M.function("twin@*/other.c").return { println("twin of other ", $return) }
    probe M.function("scaled") { println("scaled ", $n, " ", $by) }
    probe M.function("scaled").return { println("was scaled ", $return) }
    probe M.function("probed_other") {
      println("other ", $pair->first, " ", $pair->second, " ", $n)
    }
    probe M.function("*@*.c").exported { println("exported ", $n) }
    probe M.function("probed_work").label("fail*") { println("label ", $sum) }
    probe M.function("probed_work").callee("leaf") { println("callee ", $n) }
    probe M.function("probed_work").callee("leaf").return { println("callee gave ", $return) }
    probe M.function("probed_other").callee("twin") { println("callee of other ", $n) }
    probe M.function("written").callees(2) { callees[ppfunc()]++ }
    global callees
    probe end { foreach (name+ in callees) println("calls ", name, " ", callees[name]) }
    """
    expected: list[str] = []
    for m in models():
        n = m.n
        inner = f"{5} {m.level} {1 << 33} 77 3 -4 3 {ord('b')} 7 99 second written 1"
        expected += [f"work {n} {inner}", f"worked {m.result} {n} {m.level}", f"exported {n}"]
        expected += [f"squared {n} {n >> 1}", f"inline {n}"]
        for i, part, _ in m.loops:
            expected += [f"leaf {i} n={i:#x}", f"callee {i}", f"callee gave {part}"]
        expected += [f"twin of work {n}", f"twin of other {m.result + n - 1}"]
        for value in (n, m.result):
            expected += [f"scaled {value} 3", f"was scaled {3 * value + m.total}"]
        expected += [f"other {m.result} -7 {n}", f"callee of other {m.result + n}"]
        expected += [f"label {m.sum}"] if m.failed else []
    lines = run(probed, script).out.splitlines()
    calls = {line.split()[1]: int(line.split()[2]) for line in lines if line.startswith("calls ")}
    found = [line for line in lines if not line.startswith("calls ")]
    rounds, requests = sum(len(m.loops) for m in models()), len(ASKED)
    counts = {"leaf": rounds, "probed_other": requests, "probed_work": requests,
              "squared": requests, "scaled": 2 * requests, "twin": 2 * requests}  # fmt: skip
    assert {name: calls.get(name) for name in counts} == counts
    assert sorted(found) == sorted(expected)


def test_statements(probed: Path) -> None:
    loop, last, failed = line("loop"), line("last"), line("failed")
    result, other = line("result"), line("other", "other.c")
    script = f"""
    probe M.statement("probed_work@work.c:{loop}") {{
      println("loop ", $i, " ", $part, " ", $sum, " ", $t->level, " ", @defined($n),
              " ", @defined($half))
    }}
    probe M.statement("*@work.c:{last}") {{
      println("last ", $sum, " ", @var("probed_total"), " ", @var("probed_calls@work.c"), " ",
              @var("probed_calls@other.c"), " ", @var("probed_table")[1]->a, " ",
              @var("probed_hits") > 0, " ", @var("probed_last")->x, " ", @defined($n))
    }}
    probe M.statement("probed_work@work.c:{failed}") {{ println("failed ", $sum) }}
    probe M.statement("written@work.c:{result}") {{
      println("result ", $result, " ", $n, " ", $level, " ", $second->num, " ", $t->y, " ",
              kernel_string($t->name), " ", $second->name$, " ", @cast(&$t, "struct thing")->x)
    }}
    probe M.statement("probed_other@other.c:{other}") {{
      println("other ", $n, " ", $probed_calls)
    }}
    probe M.statement("probed_work@work.c:{loop}-{loop + 1}") {{ lines[pp(), ppfunc()]++ }}
    probe M.statement("squared@work.c+2") {{ println("offset ", $v) }}
    probe M.statement("leaf@work.c:1").nearest {{ println("nearest ", $n) }}
    probe M.statement({address("leaf"):#x}) {{ println("address ", $n) }}
    probe module("probed").statement({address("leaf"):#x}).nearest {{ println("near ", $n) }}
    probe kernel.statement({address("leaf"):#x}).absolute {{ println("absolute ", int_arg(1)) }}
    probe kprobe.statement({address("leaf"):#x}).absolute {{ println("kprobe ", int_arg(1)) }}
    global lines
    probe end {{ foreach ([point+, f] in lines) println(f, " ", lines[point, f]) }}
    """
    expected: list[str] = []
    before = 0
    for number, m in enumerate(models(), 1):
        expected += [f"loop {i} {part} {s} {m.level} 1 0" for i, part, s in m.loops]
        if m.failed:
            expected.append(f"failed {m.sum}")
        else:
            expected.append(f"last {m.sum} {m.total} {40 + number} {69 + number} 22 1 {before} 0")
        before = -1 if m.failed else 3
        expected.append(f'result {m.in_end} {m.n} {m.level} 99 -4 first "second" 3')
        expected += [f"other {m.n} {70 + number}", f"offset {m.n}"]
        for i, *_ in m.loops:
            kinds = ("nearest", "address", "near", "absolute", "kprobe")
            expected += [f"{kind} {i}" for kind in kinds]
    rounds = sum(len(m.loops) for m in models())
    found = run(probed, script, "-g").out.splitlines()
    assert sorted(found) == sorted([*expected, *2 * [f"probed_work {rounds}"]])


def address(name: str) -> int:
    """Where a function of the module is."""
    for text in Path("/proc/kallsyms").read_text().splitlines():
        if text.endswith(f" {name}\t[probed]"):
            return int(text.split()[0], 16)
    raise LookupError(name)


def test_module_that_comes_later(modules: Modules) -> None:
    """Its places are armed before it is loaded: its beginning counts, too."""
    path = modules.build(PROBED)
    script = f"""
    probe M.function("probed_begin@work.c").call {{ println("begin") }}
    probe M.function("probed_work").return {{ println("worked ", $return, " ", $n) }}
    probe M.statement("probed_work@work.c:{line("loop")}") {{ println("loop ", $i) }}
    """
    script = script.replace("M.", f'module("{path}").')
    words = f"sh -c 'insmod {path} && echo 2 -9 > /proc/probed; rmmod probed'"
    done = stap("-c", words, "-e", script, timeout=_SECONDS)
    assert done.out.splitlines() == ["begin", "loop 0", "loop 1", "worked -22 2"], done.err


@pytest.mark.shared_out
def test_what_does_not_work(probed: Path) -> None:
    """Unreadable variables are refused with the reason, or 0; so is what cannot be probed."""
    last = line("last")
    gone = f'probe M.statement("probed_work@work.c:{last}") {{ println("n ", $n) }}'
    done = stap("-p2", "-e", gone.replace("M.", f'module("{probed}").'), timeout=_SECONDS)
    assert done.status == 1
    assert "'$n' not accessible at this address (pc: " in done.err
    found = run(probed, gone, "--skip-badvars", "-w").out.splitlines()
    assert found == ["n 0"] * sum(not m.failed for m in models())
    listed = stap("-L", f'module("{probed}").statement("probed_work@work.c:{last}")')
    assert " $t:struct thing* $sum:int" in listed.out
    assert "$n:" not in listed.out
    begin = (
        f'module("{probed}").function("probed_begin@work.c")'  # was thrown away when it had run
    )
    assert stap("-l", begin, timeout=_SECONDS).status == 1
    missing = stap("-l", 'module("probed").statement("leaf@work.c:1").nearest', timeout=_SECONDS)
    assert "missing x86_64 kernel/module debuginfo" in missing.err
    assert 'name its file: module("/path/of/probed.ko")' in missing.err
