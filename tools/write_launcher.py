"""Writes .venv/bin/stap: the console script, without the imports that the generated one does.

Python's ``site`` start-up and the generated script's imports cost more than a cached session.
"""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

LAUNCHER = """\
#!{python} -IS
import sys

sys.path.extend([{source!r}, {packages!r}])
from pystap.cli.main import command

command()
"""


def write() -> None:
    """Write the launcher of the environment this script runs in."""
    path = Path(sys.prefix) / "bin" / "stap"
    path.write_text(
        LAUNCHER.format(
            python=sys.executable,
            source=str(Path(__file__).resolve().parent.parent / "src"),
            packages=sysconfig.get_path("purelib"),
        )
    )
    path.chmod(0o755)


if __name__ == "__main__":
    write()
