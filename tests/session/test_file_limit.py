"""Scripts with more probes than a process may usually have descriptors."""

from __future__ import annotations

import re
import subprocess

from stap import STAP

SCRIPT = 'global c probe kernel.trace("[r-x]*") { c++ } probe timer.ms(1) { println("up") exit() }'


def limited(limit: str) -> subprocess.CompletedProcess[str]:
    """A session under a limit, as the shell's ulimit takes it."""
    shell = f'ulimit {limit}; exec "$@"'
    words = ["sh", "-c", shell, "sh", STAP, "-e", SCRIPT]
    return subprocess.run(words, capture_output=True, text=True, timeout=120)


def test_the_usual_limit_is_raised() -> None:
    done = limited("-Sn 200")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("up\n")


def test_the_hard_limit_is_told() -> None:
    """It stays where this process may not raise it, as a user without privilege."""
    words = ["setpriv", "--bounding-set=-sys_resource", "--inh-caps=-sys_resource", "--"]
    shell = 'ulimit -n 200; exec "$@"'
    command = ["sh", "-c", shell, "sh", *words, STAP, "-e", SCRIPT]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert re.match(
        r"ERROR: cannot load or attach .*: too many open files\.\n"
        r"        The script's \d+ probes take up to \d+ descriptors; the limit is 200"
        r" \(ulimit -Hn\)\.\n",
        done.stderr,
    )
