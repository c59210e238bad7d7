"""Places in the source of a kernel module, probed by modules: calls, statements, labels...

Modules are made before the one that they probe is loaded: where that is, they find out."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from lab import modules
from lab.modules import Modules
from lab.probed import (
    COMMAND,
    FUNCTIONS,
    Model,
    check_functions,
    check_statements,
    line,
    models,
    statements,
)

from .probing import Probing

pytestmark = pytest.mark.lab

CALLS = Probing(FUNCTIONS)
LINES = Probing(statements())
LATER = Probing(f"""
function total() {{
  try {{ return @var("probed_total", FILE) }} catch (message) {{ println(message) }}
  return -1
}}
probe begin, end {{ println("total ", total()) }}
probe M.function("probed_begin@work.c").call {{ println("begin ", total()) }}
probe M.function("twin@work.c") {{ println("twin of work ", $n) }}
probe M.function("twin@*/other.c").return {{ println("twin of other ", $return) }}
probe M.function("probed_work").return {{
  println("worked ", $return, " ", @var("probed_calls@work.c"), " ", @var("probed_calls@other.c"))
}}
probe M.statement("written@work.c:{line("result")}") {{ println("total is ", total()) }}
""")
PLAIN = Probing("""
probe kprobe.M.function("probed_work") { println("entered ", int_arg(2)) }
probe kprobe.M.function("probed_work").return { println("left ", returnval() << 32 >> 32) }
""")
NEEDY = Probing("""
probe begin { println("begin ", @var("probed_total", FILE)) }
probe end { println("end") }
""")
PER_CPU = modules.Module(
    "-e",
    """
    // of one CPU: those that began on it less those that ended there
    function counts() { n = @var("process_counts") return n < 0 ? -n : n }
    probe begin { println(@var("runqueues")->cpu == cpu(), " ", counts() < 100000) }
    probe timer.profile {
      seen[cpu(), @var("runqueues")->cpu] = 1
      if (++times == 20) exit()
    }
    global seen, times
    probe end { foreach ([here, there] in seen) if (here != there) println(here, " ", there) }
    """,
)


def probed_file(made: Modules, module: Probing) -> str:
    """The file of the module that another one probes."""
    return str(json.loads((made.directory(module) / "answer").read_text())["probed"])


def run(made: Modules, module: Probing, command: str) -> str:
    """What a module prints while a command runs."""
    done = modules.staprun("-c", command, str(made.build(module)))
    assert (done.status, done.err) == (0, "")
    return done.out


def run_loaded(made: Modules, module: Probing) -> str:
    """The same while requests are made of the module that it probes, which is loaded."""
    subprocess.run(["insmod", probed_file(made, module)], check=True)
    try:
        return run(made, module, COMMAND)
    finally:
        subprocess.run(["rmmod", "probed"], check=True)


def test_functions(modules: Modules) -> None:
    check_functions(run_loaded(modules, CALLS))


def test_statements(modules: Modules) -> None:
    check_statements(run_loaded(modules, LINES))


def test_functions_by_name_alone(modules: Modules) -> None:
    wanted = [text for m in models() for text in (f"entered {m.n}", f"left {m.result}")]
    assert run_loaded(modules, PLAIN).splitlines() == wanted


def test_module_that_comes_later_and_again(modules: Modules) -> None:
    """Its data and functions that share their names are where it was loaded last; before, reading
    the data is a run-time error that names it."""
    once = f"insmod {probed_file(modules, LATER)}; echo 2 -9 > /proc/probed; rmmod probed"
    out = run(modules, LATER, f"sh -c '{once}; {once}'").splitlines()
    model = Model(2, -9, 1, 0)
    lines = [
        "begin 0", f"worked {model.result} 41 70", f"twin of other {model.result + 1}",
        "twin of work 2", f"total is {model.total}",
    ]  # fmt: skip
    not_there = ["where probed:probed_total was loaded is not known", "total -1"]
    assert out[:2] == out[-2:] == not_there
    assert sorted(out[2:-2]) == sorted(lines * 2)


def test_symbol_that_is_not_there(modules: Modules, tmp_path: Path) -> None:
    """A session that needs one of a loaded module does not begin."""
    other = tmp_path / "probed.ko"
    words = ["objcopy", "--redefine-sym", "probed_total=renamed", probed_file(modules, NEEDY)]
    subprocess.run([*words, str(other)], check=True)
    subprocess.run(["insmod", other], check=True)
    try:
        done = modules.run(NEEDY)
    finally:
        subprocess.run(["rmmod", "probed"], check=True)
    said = "ERROR: this kernel does not tell where 'probed:probed_total' is\n"
    assert (done.out, done.err, done.status) == ("", said, 1)


def test_variables_of_each_cpu(modules: Modules) -> None:
    assert modules.run(PER_CPU).out == "1 1\n"
