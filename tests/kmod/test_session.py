"""A module's session from its start to its end, in the machines of the lab."""

from __future__ import annotations

import pytest

from lab.modules import Module, Modules
from stap import PYTHON

pytestmark = pytest.mark.lab


HELLO = Module("-e", 'probe begin { printf("Hello, World!\\n"); exit() }')
COUNT = Module(
    "-e",
    """
    global count
    probe timer.ms(10) { if (++count == 5) exit() }
    probe end { println("counted ", count) }
    """,
)
FAULT = Module("-e", "global zero probe oneshot { println(1 / zero) }")
ARRAYS = Module(
    "-e",
    """
    global seen
    probe oneshot {
      for (i = 0; i < 10; i++) seen[i % 3, sprint(i % 2)] <<< i
      foreach ([n, s] in seen) println(n, " ", s, " ", @count(seen[n, s]), " ", @sum(seen[n, s]))
    }
    """,
)
CALLS = Module(
    "-e",
    """
    global calls
    probe syscall.getppid { if (pid() == target()) calls++ }
    probe end { println(calls) }
    """,
)


def test_hello(modules: Modules) -> None:
    done = modules.run(HELLO)
    assert (done.out, done.err, done.status) == ("Hello, World!\n", "", 0)


def test_timer(modules: Modules) -> None:
    done = modules.run(COUNT)
    assert (done.out, done.err, done.status) == ("counted 5\n", "", 0)


def test_fault_is_told_and_ends_the_session(modules: Modules) -> None:
    done = modules.run(FAULT)
    assert done.out == ""
    assert done.err.startswith("ERROR: division by 0 near operator '/' at <input>:1:")
    assert done.status == 1


def test_arrays_of_aggregates(modules: Modules) -> None:
    done = modules.run(ARRAYS)
    assert done.out == "0 0 2 6\n1 1 2 8\n2 0 2 10\n0 1 2 12\n1 0 1 4\n2 1 1 5\n"


def test_system_calls_of_the_target(modules: Modules) -> None:
    program = "import os; [os.getppid() for _ in range(321)]"
    done = modules.run(CALLS, "-c", f"{PYTHON} -ISc '{program}'")
    assert (done.out, done.status) == ("321\n", 0), done.err
