"""Translating scripts outside of the machine, at the speed of this one, before they run in it.

The machine writes down what its kernel says to translations (:func:`ask`).  A process outside
(``python -m lab.ahead``) sees these files in place of its own kernel's and fills a cache with what
``stap -p4`` makes.  In the machine (:func:`lend`) a script whose translation is not there in time
is translated as usual, so nothing depends on this but time.

Not for scripts about processes or addresses: what their translation looks at is not lent.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from pystap.kernel import features
from pystap.session import cache

FACTS, CACHE, LOG = "facts", "systemtap", "ahead.log"
# Directories and files that tell of a kernel, and where a translation looks for them.
_SEEN = {
    "btf": "/sys/kernel/btf",
    "notes": "/sys/kernel/notes",
    "possible": "/sys/devices/system/cpu/possible",
    "online": "/sys/devices/system/cpu/online",
}
_SECONDS = 60.0  # that one translation may take


def ask(directory: Path, wanted: Sequence[Sequence[str]]) -> None:
    """In the machine: ask for translations of command lines."""
    facts = directory / "facts.new"
    facts.mkdir()
    for name, path in _SEEN.items():
        _copy(Path(path), facts / name)
    features.Features(facts / "features").report()
    names = os.uname()
    request = {"uname": list(names), "wanted": wanted}
    (facts / "request").write_text(json.dumps(request))
    facts.rename(directory / FACTS)


def lend(directory: Path, replace: Callable[[object, str, object], None]) -> None:
    """In the machine: take translations from there; ``replace`` sets attributes for as long."""
    original = cache.load

    def load(name: str) -> cache.Entry | None:
        own, lent = Path(cache.directory(), name), directory / CACHE / "cache/pystap" / name
        if not own.exists() and lent.exists():
            own.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(lent, own)
        return original(name)

    replace(cache, "load", load)
    replace(cache, "stamp", _stamp)


def serve(directory: Path) -> subprocess.Popen[bytes]:
    """Outside: start answering what was asked for."""
    words = [
        "setpriv",
        "--pdeathsig",
        "KILL",
        "unshare",
        "-m",
        sys.executable,
        "-m",
        "lab.ahead",
        str(directory),
    ]
    paths = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    with (directory / LOG).open("wb") as log:
        return subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, "PYTHONPATH": paths},
        )


def _copy(path: Path, to: Path) -> None:
    """Copy a file of sysfs, or a directory of such files."""
    if not path.is_dir():
        to.write_bytes(path.read_bytes())
        return
    to.mkdir()
    for file in path.iterdir():
        _copy(file, to / file.name)


def _stamp(path: str) -> cache.Stamp:
    """Identity of a file without the numbers that differ between inside and outside."""
    try:
        info = os.stat(path)
    except OSError:
        return (0, 0, 0, 0)
    return (info.st_mtime_ns, info.st_size, 0, 0)


def main(directory: Path) -> None:
    """Outside, in a mount namespace of its own: translate everything that was asked for."""
    facts = directory / FACTS
    request = json.loads((facts / "request").read_text())
    _pretend(facts, request)
    os.environ["SYSTEMTAP_DIR"] = str(directory / CACHE)
    memo = directory / CACHE / "cache/pystap/features"
    memo.parent.mkdir(mode=0o700, parents=True)
    shutil.copy(facts / "features", memo)
    work = directory / "work"
    work.mkdir()
    os.chdir(work)  # where products go
    import inprocess

    for words in request["wanted"]:
        done = inprocess.stap("-p4", *words, timeout=_SECONDS)
        if done.status not in (0, 1):
            print(words, done.err, flush=True)


def _pretend(facts: Path, request: dict[str, list[str]]) -> None:
    """Let this process and its children take the kernel for the other one."""
    for name, path in _SEEN.items():
        subprocess.run(["mount", "--bind", facts / name, path], check=True)
    names = os.uname_result(request["uname"])
    memo_key = (facts / "features").read_text().partition("\n")[0]
    os.uname = lambda: names
    features._kernel_key = lambda: memo_key
    cache.stamp = _stamp


if __name__ == "__main__":
    main(Path(sys.argv[1]))
