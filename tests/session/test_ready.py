"""Who reads what a begin handler prints may rely on probes from then on."""

from __future__ import annotations

import os
import subprocess

import pytest

from stap import STAP


@pytest.mark.parametrize("turn", range(4))
def test_probes_count_when_begin_was_heard_of(turn: int) -> None:
    script = f"""
      probe begin {{ printf("ready {turn}\\n") }}
      probe process({os.getpid()}).syscall {{
        if ($syscall == 110 && !seen++) {{ println("seen"); exit() }}
      }}
      probe timer.s(20) {{ println("late"); exit() }}
      global seen
    """
    with subprocess.Popen([STAP, "-e", script], stdout=subprocess.PIPE, text=True) as session:
        assert session.stdout is not None
        assert session.stdout.readline() == f"ready {turn}\n"
        os.getppid()
        assert session.stdout.read() == "seen\n"
    assert session.returncode == 0
