"""A kernel module that is probed, what it does, and what probes in its source are to see.

``M.`` in a script stands for the module: ``module("FILE").``.
"""

from __future__ import annotations

from .sources import SourceModule

PROBED = SourceModule("probed")
ASKED = ((4, -3), (2, -9), (3, 5))  # what is written to the module: counts and levels
COMMAND = "sh -c '" + "; ".join(f"echo {n} {level} > /proc/probed" for n, level in ASKED) + "'"


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


# ---- functions

FUNCTIONS = """
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


def check_functions(out: str) -> None:
    """Hold what the script FUNCTIONS printed against the model."""
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
    lines = out.splitlines()
    calls = {line.split()[1]: int(line.split()[2]) for line in lines if line.startswith("calls ")}
    found = [line for line in lines if not line.startswith("calls ")]
    rounds, requests = sum(len(m.loops) for m in models()), len(ASKED)
    counts = {"leaf": rounds, "probed_other": requests, "probed_work": requests,
              "squared": requests, "scaled": 2 * requests, "twin": 2 * requests}  # fmt: skip
    assert {name: calls.get(name) for name in counts} == counts
    assert sorted(found) == sorted(expected)


# ---- statements


def statements() -> str:
    """A script for lines of the source."""
    loop, last, failed = line("loop"), line("last"), line("failed")
    result, other = line("result"), line("other", "other.c")
    return f"""
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
    global lines
    probe end {{ foreach ([point+, f] in lines) println(f, " ", lines[point, f]) }}
    """


def check_statements(out: str, at_leaf: tuple[str, ...] = ()) -> None:
    """Hold what the script of :func:`statements` printed against the model; ``at_leaf`` are words
    of more probes on ``leaf``."""
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
            expected += [f"{kind} {i}" for kind in ("nearest", *at_leaf)]
    rounds = sum(len(m.loops) for m in models())
    found = out.splitlines()
    assert sorted(found) == sorted([*expected, *2 * [f"probed_work {rounds}"]])
