"""Writes the commands in .venv/bin: console scripts without the imports of the generated ones.

Python's ``site`` start-up and the generated script's imports cost more than a cached session.
"""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

COMMANDS = {
    "stap": "pystap.cli.main",
    "staprun": "pystap.staprun.main",
    "stap-merge": "pystap.staprun.merge",
    "stap-prep": "pystap.prep.main",
    "dtrace": "pystap.dtrace.main",
}
LAUNCHER = """\
#!{python} -IS
import sys

sys.path.extend([{source!r}, {packages!r}])
from {module} import command

command()
"""


def write() -> None:
    """Write the launchers of the environment this script runs in."""
    for name, module in COMMANDS.items():
        path = Path(sys.prefix) / "bin" / name
        path.write_text(
            LAUNCHER.format(
                python=sys.executable,
                source=str(Path(__file__).resolve().parent.parent / "src"),
                packages=sysconfig.get_path("purelib"),
                module=module,
            )
        )
        path.chmod(0o755)


if __name__ == "__main__":
    write()
