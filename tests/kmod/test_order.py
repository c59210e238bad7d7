"""Output of several CPUs comes out in the order it was made in, in the machines of the lab."""

from __future__ import annotations

import pytest

from lab.modules import Module, Modules
from stap import PYTHON

pytestmark = pytest.mark.lab

TURNS = 3000
TOLD = 1_000_000  # added to the turn's number, which is no descriptor of anybody's then

WRITES = Module("-e", f"probe syscall.close {{ if (fd >= {TOLD}) println(fd - {TOLD}, cpu()) }}")
LONG = Module(
    "-e",
    f"""
    probe syscall.close {{
      if (fd < {TOLD}) next
      for (i = 0; i < 300; i++) printf("%d %d %030d\\n", fd - {TOLD}, cpu(), i)
    }}
    """,
)

# Two processes, each on a CPU of its own, hand the number of the turn to and fro.
PLAYERS = """
import os, sys
turns, told = int(sys.argv[1]), int(sys.argv[2])
there, back = os.pipe(), os.pipe()
os.write(there[1], (0).to_bytes(4, "little"))
first = os.fork() == 0
os.sched_setaffinity(0, {0 if first else 1})
source, to = (there[0], back[1]) if first else (back[0], there[1])
for _ in range(turns // 2):
    turn = int.from_bytes(os.read(source, 4), "little")
    try:
        os.close(told + turn)
    except OSError:
        pass
    os.write(to, (turn + 1).to_bytes(4, "little"))
if not first:
    os.wait()
"""


def played(tmp_path_factory: pytest.TempPathFactory, turns: int) -> str:
    """The command that plays so many turns."""
    program = tmp_path_factory.mktemp("players") / "players.py"
    program.write_text(PLAYERS)
    return f"{PYTHON} -IS {program} {turns} {TOLD}"


def test_lines_of_two_cpus(modules: Modules, tmp_path_factory: pytest.TempPathFactory) -> None:
    done = modules.run(WRITES, "-c", played(tmp_path_factory, TURNS))
    assert done.out == "".join(f"{turn}{turn % 2}\n" for turn in range(TURNS)), done.err
    assert (done.err, done.status) == ("", 0)


def test_much_output_of_a_handler_stays_together(
    modules: Modules, tmp_path_factory: pytest.TempPathFactory
) -> None:
    done = modules.run(LONG, "-c", played(tmp_path_factory, 40))
    expected = [f"{turn} {turn % 2} {i:030}" for turn in range(40) for i in range(300)]
    assert done.out.splitlines() == expected, done.err
