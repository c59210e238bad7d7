"""The tracing file system: where it is, and what it says about tracepoints."""

from __future__ import annotations

import os

_USUAL = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")


class TracefsError(Exception):
    """tracefs is not mounted, or does not know the tracepoint."""


class Field:
    """A field of a tracepoint record; ``offset`` and ``size`` in bytes."""

    __slots__ = ("ctype", "name", "offset", "signed", "size")

    def __init__(self, name: str, ctype: str, offset: int, size: int, signed: bool) -> None:
        self.name = name
        self.ctype = ctype
        self.offset = offset
        self.size = size
        self.signed = signed

    def __repr__(self) -> str:
        return f"Field({self.ctype} {self.name} @{self.offset}+{self.size})"


class TracepointFormat:
    """A tracepoint's ``format`` file: its id, its fields (common ones first), its text form."""

    __slots__ = ("fields", "print_format", "tracepoint_id")

    def __init__(self, tracepoint_id: int, fields: list[Field], print_format: str) -> None:
        self.tracepoint_id = tracepoint_id
        self.fields = fields
        self.print_format = print_format


def tracefs_path() -> str | None:
    """Where tracefs is mounted and readable, or None.

    Looking at ``/sys/kernel/debug/tracing`` makes the kernel mount it there if debugfs is.
    """
    for path in _USUAL:
        if os.path.isdir(f"{path}/events"):
            return path
    with open("/proc/self/mounts", encoding="latin-1") as file:
        for line in file:
            _, where, kind, *_ = line.split(" ")
            if kind == "tracefs" and os.path.isdir(f"{where}/events"):
                return where
    return None


def mount_tracefs() -> str:
    """Mount tracefs at its usual place and return that; OSError if the kernel refuses."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    place = _USUAL[0]
    if libc.mount(b"tracefs", place.encode(), b"tracefs", 0, None) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"mounting tracefs: {os.strerror(error)}", place)
    return place


def tracepoint_id(system: str, name: str) -> int:
    """The number perf_event_open takes."""
    return int(_event_file(system, name, "id"))


def tracepoint_format(system: str, name: str) -> TracepointFormat:
    """The parsed ``format`` file of an event."""
    number, text, fields = 0, "", []
    for line in _event_file(system, name, "format").split("\n"):
        if line.startswith("ID:"):
            number = int(line[3:])
        elif line.startswith("print fmt:"):
            text = line[10:].strip()
        elif line.startswith("\tfield:"):
            fields.append(_field(line))
    return TracepointFormat(number, fields, text)


def _field(line: str) -> Field:
    """``\\tfield:char comm[16];\\toffset:8;\\tsize:16;\\tsigned:0;``"""
    parts = dict(p.strip().partition(":")[::2] for p in line.split(";") if p.strip())
    declaration = parts["field"]
    ctype, _, name = declaration.rpartition(" ")
    name, bracket, length = name.partition("[")
    while name.startswith("*"):
        ctype, name = ctype + "*", name[1:]
    signed = parts.get("signed", "0") == "1"
    return Field(name, ctype + bracket + length, int(parts["offset"]), int(parts["size"]), signed)


def _event_file(system: str, name: str, file_name: str) -> str:
    try:
        with open(f"{_root()}/events/{system}/{name}/{file_name}", encoding="latin-1") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        raise TracefsError(f"no tracepoint {system}:{name}") from None


def _root() -> str:
    path = tracefs_path()
    if path is None:
        raise TracefsError("tracefs is not mounted")
    return path
