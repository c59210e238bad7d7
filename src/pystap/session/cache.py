"""The cache of finished artifacts: start again without parsing, LLVM or BTF.

An entry's key covers everything known before pass 1: the script, its arguments, the options that
matter, this kernel's build and this version of pystap.  Files that translation looked at beyond
those (tapset files, probed programs) are listed in the entry and compared when it is used.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from pystap.backend.bpf.artifact import Artifact
    from pystap.options import Options

    Stamp = tuple[int, int, int, int]

_LIMIT_MB = 256
_FORMAT = b"pystap artifact 1\n"


class Entry:
    """A cached translation: the artifact, the warnings it gave and the pass-2 counts."""

    __slots__ = ("artifact", "counts", "files", "warnings")

    def __init__(
        self,
        artifact: Artifact,
        warnings: list[str],
        counts: tuple[int, int, int, int],
        files: dict[str, Stamp],
    ) -> None:
        self.artifact = artifact
        self.warnings = warnings
        self.counts = counts
        self.files = files


def directory() -> str:
    """The cache directory: ``cache/pystap`` below $SYSTEMTAP_DIR or ~/.systemtap."""
    base = os.environ.get("SYSTEMTAP_DIR") or os.path.expanduser("~/.systemtap")
    return os.path.join(base, "cache", "pystap")


def key(options: Options, script: str) -> str:
    """Name of the entry for a script under the given options."""
    from _blake2 import blake2b

    uname = os.uname()
    parts: list[object] = [
        _own_stamp(),
        uname.release,
        uname.version,
        _kernel_stamp(),
        os.cpu_count(),
        os.geteuid(),
        script,
        options.script_file,
        options.extra_scripts,
        options.args,
        options.guru,
        options.unoptimized,
        options.suppress_warnings,
        options.warnings_are_errors,
        sorted(options.defines.items()),
        sorted(options.global_inits.items()),
        options.cmd,
        options.target_pid,
        options.skip_badvars,
        options.suppress_handler_errors,
        options.suppress_time_limits,
        options.timing,
        options.global_var_display,
        options.compatible,
        options.sysroot,
        options.release,
        [_tree_stamp(d) for d in options.tapset_dirs],
        os.environ.get("PATH") if "process" in script or options.tapset_dirs else None,
        _debug_places() if _asks_files(script) or options.tapset_dirs else None,
        os.getcwd() if "process" in script else None,
    ]
    return blake2b(repr(parts).encode("utf-8", "surrogatepass"), digest_size=20).hexdigest()


def load(name: str) -> Entry | None:
    """The entry ``name`` if it is there and its files are unchanged."""
    path = os.path.join(directory(), name)
    try:
        with open(path, "rb") as file:
            mine = _is_ours(os.fstat(file.fileno()))
            data = file.read() if mine else b""
    except OSError:
        return None
    if not data.startswith(_FORMAT):
        return None
    import _pickle as pickle  # the module around it imports ``re`` and more

    try:
        entry = pickle.loads(data[len(_FORMAT) :])
    except Exception:
        return None
    if not isinstance(entry, Entry) or any(stamp(p) != s for p, s in entry.files.items()):
        return None
    return entry


def _is_ours(info: os.stat_result) -> bool:
    """Whether nobody else can have written a file: unpickling runs what it says."""
    return info.st_uid == os.geteuid() and not info.st_mode & 0o022


def store(name: str, entry: Entry) -> None:
    """Keep an entry; a cache that cannot be written is no error, only slower."""
    import _pickle as pickle  # the module around it imports ``re`` and more
    import contextlib

    from pystap.wholefile import write_whole

    with contextlib.suppress(OSError):
        path = os.path.join(directory(), name)
        write_whole(path, _FORMAT, pickle.dumps(entry, protocol=5))
        limit_size()


def clean() -> int:
    """Remove every entry; how many there were."""
    count = 0
    where = directory()
    if not os.path.isdir(where):
        return 0
    for item in os.scandir(where):
        if item.is_file(follow_symlinks=False):
            os.unlink(item.path)
            count += 1
    return count


def _asks_files(script: str) -> bool:
    """Whether a script may be about places in files with debug information."""
    return any(word in script for word in ("process", "kernel", "module"))


def _debug_places() -> list[str | None]:
    """What says where debug information is looked for."""
    return [os.environ.get(v) for v in ("SYSTEMTAP_DEBUGINFO_PATH", "DEBUGINFOD_URLS")]


def stamp(path: str) -> Stamp:
    """Identity of a file's content as far as stat(2) tells; zeros when absent.

    For files that the kernel makes (where it loaded something) it is the content itself.
    """
    try:
        if path.startswith(("/proc/sys/", "/sys/module/")):
            with open(path, "rb") as file:
                content = file.read()
            return (int.from_bytes(content, "little"), len(content), 0, 0)
        info = os.stat(path)
    except OSError:
        return (0, 0, 0, 0)
    return (info.st_mtime_ns, info.st_size, info.st_ino, info.st_dev)


def stamps(paths: Iterable[str]) -> dict[str, Stamp]:
    """Stamps of several files."""
    return {path: stamp(path) for path in paths}


def limit_size() -> None:
    """Drop the oldest entries beyond the limit (file cache_mb_limit, default 256 MB)."""
    limit, where = _LIMIT_MB, directory()
    try:
        with open(os.path.join(os.path.dirname(where), "cache_mb_limit"), encoding="ascii") as f:
            limit = int(f.read())
    except (OSError, ValueError):
        limit = _LIMIT_MB
    entries = [(e.stat().st_mtime_ns, e.stat().st_size, e.path) for e in os.scandir(where)]
    excess = sum(size for _, size, _ in entries) - limit * 1_000_000
    for _, size, path in sorted(entries):
        if excess <= 0:
            return
        os.unlink(path)
        excess -= size


def _own_stamp() -> object:
    """Version and newest change of this package's files."""
    import pystap

    return pystap.__version__, _tree_stamp(os.path.dirname(pystap.__file__))


def _tree_stamp(top: str) -> tuple[int, int]:
    """Newest modification and number of files below a directory."""
    newest = count = 0
    pending = [top]
    while pending:
        try:
            entries = os.scandir(pending.pop())
        except OSError:
            continue
        for entry in entries:
            if entry.name == "__pycache__":
                continue
            if entry.is_dir():
                pending.append(entry.path)
            else:
                count += 1
                newest = max(newest, entry.stat().st_mtime_ns)
    return newest, count


def _kernel_stamp() -> bytes:
    """The kernel's build id note and the modules that carry BTF."""
    try:
        with open("/sys/kernel/notes", "rb") as file:
            notes = file.read()
        return notes + "\0".join(sorted(os.listdir("/sys/kernel/btf"))).encode()
    except OSError:
        return b""
