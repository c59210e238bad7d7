"""Debug information from the servers that ``DEBUGINFOD_URLS`` names.

Downloads are kept where elfutils' own client keeps them, ``~/.cache/debuginfod_client`` or
``$DEBUGINFOD_CACHE_PATH``; so is the knowledge that no server has something, as an empty file that
counts for the seconds that ``cache_miss_s`` there says (600).  What nobody has used for
``max_unused_age_s`` (a week) goes when something new comes.  Variables, as in debuginfod(8):

====================== =========================================================================
DEBUGINFOD_TIMEOUT     seconds in which a server has to give 100 kB or all (90; 0: no limit)
DEBUGINFOD_MAXTIME     seconds that a whole download may take (no limit)
DEBUGINFOD_MAXSIZE     bytes that a download may have (no limit)
DEBUGINFOD_PROGRESS    if set, progress is shown also where standard error is no terminal
====================== =========================================================================

All servers are asked at the same time; the first that has it gives it.  A file gets its name only
when it is complete and belongs to the build id, and has none before: whatever ends the process,
no part of one stays.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator

from pystap.typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from queue import SimpleQueue

_DEFAULT_TIMEOUT: Final = 90
_LEAST: Final = 100_000  # bytes to come in that time
_MISS_SECONDS: Final = 600
_UNUSED_SECONDS: Final = 7 * 86400
_BLOCK: Final = 1 << 16
_PROGRESS_SECONDS: Final = 0.5
_SIZE_HEADER: Final = "X-DEBUGINFOD-SIZE"


class _Refused(Exception):  # noqa: N818 - ends a download
    """A download exceeds a limit, or is not what was asked for."""


def download(
    build_id: str, what: str, looked: list[str], note: Callable[[str], None] | None = None
) -> str | None:
    """The path of a downloaded ``debuginfo`` or ``executable``; None when no server has it.

    The addresses asked are added to ``looked``, with the reason if one failed.  ``note`` takes
    progress messages, the last one empty; without it they go to standard error if that is a
    terminal.
    """
    path = os.path.join(_cache_folder(), build_id, what)
    known = _cached(path)
    if known is not None:
        looked.append(path if known else f"{path} (no server had it lately)")
        return path if known else None
    servers = list(dict.fromkeys(os.environ.get("DEBUGINFOD_URLS", "").split()))
    addresses = [f"{server.rstrip('/')}/buildid/{build_id}/{what}" for server in servers]
    problems: dict[str, str] = {}
    done = False
    for address, answer in _answers(addresses, problems):
        try:
            with answer:
                _receive(answer, address, path, build_id, note or _terminal())
            done = True
            break
        except _network_errors() as problem:
            problems[address] = _words(problem)
    looked += [f"{a} ({problems[a]})" if problems.get(a) else a for a in addresses]
    if done:
        _clean(_cache_folder())
        return path
    if not any(problems.values()):
        _remember_miss(path)
    return None


# --- servers ------------------------------------------------------------------------------------


def _answers(addresses: list[str], problems: dict[str, str]) -> Iterator[tuple[str, Any]]:
    """The answers of those servers that have it, as they come; why others have not."""
    from queue import SimpleQueue

    came: SimpleQueue[tuple[str, Any]] = SimpleQueue()
    if len(addresses) == 1:
        _ask(addresses[0], came)
    else:
        import threading

        for address in addresses:
            # one that hangs must not keep the process from ending
            threading.Thread(target=_ask, args=(address, came), daemon=True).start()
    for _ in addresses:
        address, answer = came.get()
        if isinstance(answer, Exception):
            problems[address] = _words(answer)
        elif answer is None:
            problems[address] = ""
        else:
            yield address, answer


def _ask(address: str, came: SimpleQueue[tuple[str, Any]]) -> None:
    """Put in the beginning of an answer, None when the server does not have it, or the error."""
    from urllib.error import HTTPError
    from urllib.request import urlopen

    try:
        if not address.startswith(("http://", "https://", "file://")):
            raise ValueError("not a web address")
        came.put((address, urlopen(address, timeout=_timeout())))
    except HTTPError as problem:
        came.put((address, None if problem.code == 404 else problem))
    except _network_errors() as problem:
        missing = address.startswith("file://") and "No such file" in str(problem)
        came.put((address, None if missing else problem))


def _network_errors() -> tuple[type[Exception], ...]:
    from http.client import HTTPException

    return OSError, ValueError, HTTPException, _Refused


def _words(problem: Exception) -> str:
    """An error for people; urllib wraps what the system says."""
    reason = getattr(problem, "reason", None)
    if isinstance(reason, OSError):
        problem = reason
    if isinstance(problem, TimeoutError):
        return f"no answer for {_limit('DEBUGINFOD_TIMEOUT', _DEFAULT_TIMEOUT)} s"
    return str(problem) or type(problem).__name__


# --- the download -------------------------------------------------------------------------------


class _Watch:
    """The limits of a download, and what is shown of it."""

    def __init__(self, address: str, total: int, note: Callable[[str], None] | None) -> None:
        self._address = address
        self._total = total
        self._note = note
        self._begun = self._told = self._window = time.monotonic()
        self._before = 0  # bytes there when the window began
        self._told_something = False

    def check_size(self, size: int) -> None:
        """Raise unless so many bytes are allowed."""
        most = _limit("DEBUGINFOD_MAXSIZE", 0)
        if most and size > most:
            raise _Refused(f"larger than {most} bytes")

    def check(self, received: int) -> None:
        """Raise when a limit is passed; tell how far it is."""
        self.check_size(received)
        now = time.monotonic()
        longest, patience = _limit("DEBUGINFOD_MAXTIME", 0), _timeout()
        if longest and now - self._begun > longest:
            raise _Refused(f"took longer than {longest} s")
        if received - self._before >= _LEAST:
            self._window, self._before = now, received
        elif patience and now - self._window > patience:
            raise _Refused(f"less than {_LEAST // 1000} kB in {patience:.0f} s")
        if self._note is not None and now - self._told > _PROGRESS_SECONDS:
            self._note(_progress(self._address, received, self._total))
            self._told, self._told_something = now, True

    def end(self) -> None:
        """Nothing more will be told."""
        if self._note is not None and self._told_something:
            self._note("")


def _receive(
    answer: Any, address: str, path: str, build_id: str, note: Callable[[str], None] | None
) -> None:
    """Download to ``path``."""
    total = int(answer.headers.get("Content-Length") or 0)
    watch = _Watch(address, total, note)
    watch.check_size(max(total, int(answer.headers.get(_SIZE_HEADER) or 0)))
    received = 0
    try:
        with _Partial(path) as partial:
            while block := answer.read1(_BLOCK):
                partial.file.write(block)
                received += len(block)
                watch.check(received)
            if total and received != total:
                raise _Refused(f"ended after {received} of {total} bytes")
            partial.file.flush()
            _check_identity(partial.path, build_id)
            partial.keep()
    finally:
        watch.end()


class _Partial:
    """A file that gets the name ``path`` by :meth:`keep` only; before it has none, or, where the
    file system wants names, another that is removed."""

    def __init__(self, path: str) -> None:
        self._path = path
        folder = os.path.dirname(path)
        os.makedirs(folder, mode=0o700, exist_ok=True)
        self._name = ""
        try:
            fd = os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
            self.path = f"/proc/self/fd/{fd}"
        except OSError:
            self._name = self.path = f"{path}.{os.getpid()}"
            fd = os.open(self._name, os.O_CREAT | os.O_TRUNC | os.O_RDWR | os.O_CLOEXEC, 0o600)
        self.file = open(fd, "wb")  # noqa: SIM115 - closed at the end of the block

    def keep(self) -> None:
        """Give it its name."""
        if not self._name:
            name = f"{self._path}.{os.getpid()}"
            folder = os.open(os.path.dirname(name), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:  # with a directory Python calls linkat(2), which can follow the link in /proc
                os.link(self.path, os.path.basename(name), dst_dir_fd=folder)
            finally:
                os.close(folder)
            self._name = name
        os.replace(self._name, self._path)
        self._name = ""

    def __enter__(self) -> _Partial:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        if self._name:
            os.unlink(self._name)


def _check_identity(path: str, build_id: str) -> None:
    """Raise unless the file is of the build id: a server may answer with a page of its own."""
    from pystap.debuginfo.elf import Elf, ElfError

    try:
        with Elf(path) as elf:
            if elf.build_id() == build_id:
                return
    except ElfError:
        pass
    raise _Refused("the answer is not what was asked for")


# --- the cache ----------------------------------------------------------------------------------


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
    age = time.time() - info.st_mtime
    return False if age < _cache_setting("cache_miss_s", _MISS_SECONDS) else None


def _remember_miss(path: str) -> None:
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        with open(path, "wb"):
            os.utime(path)
    except OSError:
        return  # it will be asked for again


def _clean(folder: str) -> None:
    """Remove what has not been used for long."""
    oldest = time.time() - _cache_setting("max_unused_age_s", _UNUSED_SECONDS)
    for build_id in os.listdir(folder):
        try:
            bytes.fromhex(build_id)
            entries = list(os.scandir(os.path.join(folder, build_id)))
        except (ValueError, OSError):  # no directory of ours
            continue
        for entry in entries:
            info = entry.stat(follow_symlinks=False)
            if max(info.st_atime, info.st_mtime) < oldest and entry.is_file():
                os.unlink(entry.path)


def _cache_setting(name: str, default: int) -> int:
    """A number of seconds that a file of the cache holds."""
    try:
        with open(os.path.join(_cache_folder(), name), encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return default


# --- settings and progress ----------------------------------------------------------------------


def _timeout() -> float | None:
    return _limit("DEBUGINFOD_TIMEOUT", _DEFAULT_TIMEOUT) or None


def _limit(name: str, default: int) -> int:
    text = os.environ.get(name, "")
    return int(text) if text.isdigit() else default


def _progress(address: str, received: int, total: int) -> str:
    if total:
        share = f"{100 * received // total} % of {total / 1e6:.1f} MB"
    else:
        share = f"{received / 1e6:.1f} MB"
    return f"Downloading from {address}: {share}"


def _terminal() -> Callable[[str], None] | None:
    """Shows one line that is overwritten by the next, and removed in the end."""
    if not (sys.stderr.isatty() or os.environ.get("DEBUGINFOD_PROGRESS")):
        return None
    if not sys.stderr.isatty():
        return lambda text: _write(f"{text}\n" if text else "")
    return lambda text: _write(f"\r{text}\x1b[K")


def _write(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()
