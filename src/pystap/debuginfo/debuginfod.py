"""Debug information from the servers that ``DEBUGINFOD_URLS`` names.

Downloads are kept where elfutils' own client keeps them, ``~/.cache/debuginfod_client`` or
``$DEBUGINFOD_CACHE_PATH``; so is the knowledge that a server has nothing, as an empty file that
counts for ten minutes.  ``DEBUGINFOD_TIMEOUT`` is the longest silence of a server in seconds (90),
``DEBUGINFOD_MAXTIME`` limits a whole download, ``DEBUGINFOD_MAXSIZE`` its size in bytes.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

from pystap.typing import Any, Final

_DEFAULT_TIMEOUT: Final = 90
_MISS_SECONDS: Final = 600
_BLOCK: Final = 1 << 16
_PROGRESS_SECONDS: Final = 0.5


class _TooMuch(Exception):  # noqa: N818 - ends a download
    """A download exceeds a limit."""


def download(
    build_id: str, what: str, looked: list[str], note: Callable[[str], None] | None = None
) -> str | None:
    """The path of a downloaded ``debuginfo`` or ``executable``; None when no server has it.

    The addresses asked are added to ``looked``, with the reason if one failed.  ``note`` takes
    progress messages; without it they go to standard error if that is a terminal.
    """
    path = os.path.join(_cache_folder(), build_id, what)
    known = _cached(path)
    if known is not None:
        looked.append(path)
        return path if known else None
    failed = False
    for server in os.environ.get("DEBUGINFOD_URLS", "").split():
        address = f"{server.rstrip('/')}/buildid/{build_id}/{what}"
        try:
            found = _fetch(address, path, note or _terminal())
        except (OSError, ValueError, _TooMuch) as problem:
            looked.append(f"{address} ({problem})")
            failed = True
            continue
        looked.append(address)
        if found:
            return path
    if not failed:
        _store(path, b"")
    return None


def _cache_folder() -> str:
    named = os.environ.get("DEBUGINFOD_CACHE_PATH")
    if named:
        return named
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.join(base, "debuginfod_client")


def _cached(path: str) -> bool | None:
    """Whether a server had it; None when none has been asked lately."""
    try:
        info = os.stat(path)
    except OSError:
        return None
    if info.st_size:
        return True
    return False if time.time() - info.st_mtime < _MISS_SECONDS else None


def _fetch(address: str, path: str, note: Callable[[str], None] | None) -> bool:
    """Download to ``path``; False when the server does not have it."""
    from urllib.error import HTTPError
    from urllib.request import urlopen

    if not address.startswith(("http://", "https://", "file://")):
        raise ValueError("not a web address")
    try:
        with urlopen(address, timeout=_limit("DEBUGINFOD_TIMEOUT") or _DEFAULT_TIMEOUT) as answer:
            _receive(answer, address, path, note)
    except HTTPError as problem:
        if problem.code == 404:
            return False
        raise
    return True


def _receive(answer: Any, address: str, path: str, note: Callable[[str], None] | None) -> None:
    total = int(answer.headers.get("Content-Length") or 0)
    most, longest = _limit("DEBUGINFOD_MAXSIZE"), _limit("DEBUGINFOD_MAXTIME")
    started = told = time.monotonic()
    received = 0
    os.makedirs(os.path.dirname(path), exist_ok=True)
    temporary = f"{path}.{os.getpid()}"
    try:
        with open(temporary, "wb") as file:
            while block := answer.read(_BLOCK):
                file.write(block)
                received += len(block)
                now = time.monotonic()
                if most and received > most:
                    raise _TooMuch(f"larger than {most} bytes")
                if longest and now - started > longest:
                    raise _TooMuch(f"took longer than {longest} s")
                if note is not None and now - told > _PROGRESS_SECONDS:
                    note(_progress(address, received, total))
                    told = now
        if total and received != total:
            raise OSError(f"ended after {received} of {total} bytes")
        os.replace(temporary, path)
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)


def _store(path: str, data: bytes) -> None:
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(data)
    except OSError:
        return  # it will be asked for again


def _limit(name: str) -> int:
    text = os.environ.get(name, "")
    return int(text) if text.isdigit() else 0


def _progress(address: str, received: int, total: int) -> str:
    share = f"{100 * received // total} % of {total >> 20} MB" if total else f"{received >> 20} MB"
    return f"Downloading from {address}: {share}"


def _terminal() -> Callable[[str], None] | None:
    if not sys.stderr.isatty():
        return None

    def show(text: str) -> None:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()

    return show
