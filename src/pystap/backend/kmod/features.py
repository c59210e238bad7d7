"""What a kernel's headers offer: found by compiling small programs against them, all at once.

A check that compiles defines a name for the runtime: ``hrtimer_setup`` defines
``STAP_HAVE_HRTIMER_SETUP``.  Results are kept for each build tree (``pystap.backend.kmod.trees``).
"""

from __future__ import annotations

import os
import shutil
import subprocess
from hashlib import blake2b
from pathlib import Path
from tempfile import mkdtemp

from pystap.backend.kmod.trees import BuildError, identity
from pystap.session import cache
from pystap.typing import Final
from pystap.wholefile import write_whole

CHECKS: Final = {
    # Linux 6.13 made hrtimer_init() private
    "hrtimer_setup": """\
#include <linux/hrtimer.h>
enum hrtimer_restart f(struct hrtimer *t) { return HRTIMER_NORESTART; }
void g(struct hrtimer *t) { hrtimer_setup(t, f, CLOCK_MONOTONIC, HRTIMER_MODE_REL); }
""",
    # Later kernels measure the text themselves
    "trace_puts_size": """\
#include <linux/kernel.h>
int f(const char *text) { return __trace_puts(0, text, 0); }
""",
}
_FLAGS: Final = "-Wno-missing-prototypes -Wno-missing-declarations -Werror=int-conversion"


def found(directory: Path, words: list[str]) -> list[str]:
    """The names that hold for a build tree and words of make.  Raises BuildError."""
    parts = (identity(directory, words), CHECKS)
    kept = Path(cache.directory(), f"features_{blake2b(repr(parts).encode()).hexdigest()[:20]}")
    try:
        return kept.read_text("ascii").split()
    except FileNotFoundError:
        names = _compile(directory, words)
        write_whole(kept, " ".join(names).encode())
        return names


def _compile(directory: Path, words: list[str]) -> list[str]:
    work = Path(mkdtemp(prefix="stap"))
    try:
        # One that must compile tells a broken tree from one that lacks everything.
        texts = {"works": "#include <linux/kernel.h>\n", **CHECKS}
        objects = [f"check_{name}.o" for name in texts]
        for name, text in texts.items():
            (work / f"check_{name}.c").write_text(text, "ascii")
        (work / "Makefile").write_text(f"obj-m := {' '.join(objects)}\nccflags-y := {_FLAGS}\n")
        output = make(directory, work, ["-k", *words, "modules"])[1]
        compiled = {name for name in texts if (work / f"check_{name}.o").exists()}
    finally:
        shutil.rmtree(work, ignore_errors=True)
    if "works" not in compiled:
        lines = [f"ERROR: {line}" for line in output.splitlines()[-5:]]
        raise BuildError([f"ERROR: modules cannot be built in {directory}", *lines])
    return [f"STAP_HAVE_{name.upper()}" for name in CHECKS if name in compiled]


def make(directory: Path, work: Path, words: list[str]) -> tuple[int, str]:
    """Run make for the modules of a directory: its status and output.  Raises BuildError."""
    program = shutil.which("make")
    if program is None:
        raise BuildError(["ERROR: make is needed to build a module: apt-get install make gcc"])
    command = [program, "-C", str(directory), f"M={work}", f"-j{os.cpu_count() or 1}", *words]
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        # Messages in ASCII; the kernel's Makefile drops LC_ALL, which would stand above.
        env={**os.environ, "LC_ALL": "C", "LC_CTYPE": "C", "LC_MESSAGES": "C", "LANG": "C"},
    )
    return done.returncode, done.stdout + done.stderr
