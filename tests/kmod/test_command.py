"""How the command runs a module: staprun, and what becomes of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from stap import wait_for

_STAPRUN = """\
#!/bin/sh
trap 'echo ended >>{log}; exit 0' TERM
echo started "$@" >>{log}
while :; do sleep 0.05; done
"""
_COMMAND = """
from pathlib import Path
from pystap.cli.kernel import run_module
from pystap.cli.report import PassReport
from pystap.options import Options
run_module(Options(), Path("x.ko"), PassReport([0] * 5))
"""


def test_staprun_ends_when_the_command_is_killed(tmp_path: Path) -> None:
    log, program = tmp_path / "log", tmp_path / "staprun"
    program.write_text(_STAPRUN.format(log=log))
    program.chmod(0o755)
    log.touch()
    environment = {**os.environ, "SYSTEMTAP_STAPRUN": str(program)}
    command = subprocess.Popen([sys.executable, "-c", _COMMAND], env=environment)
    try:
        wait_for(lambda: log.read_text() == "started -R x.ko\n", 60)
    finally:
        command.kill()
        command.wait()
    wait_for(lambda: log.read_text().endswith("ended\n"), 60)


def test_staprun_that_cannot_be_started(tmp_path: Path) -> None:
    environment = {**os.environ, "SYSTEMTAP_STAPRUN": str(tmp_path / "none")}
    done = subprocess.run(
        [sys.executable, "-c", _COMMAND], env=environment, capture_output=True, text=True
    )
    assert done.stderr == (
        f"ERROR: cannot start '{tmp_path}/none': No such file or directory\n"
        "Pass 5: run failed.  [man error::pass5]\n"
    )
