"""CPUs of the running kernel."""

from __future__ import annotations

import struct

_NT_GNU_BUILD_ID = 3


def _read_cpu_list(path: str) -> tuple[int, ...]:
    """CPU numbers from a list such as ``0-3,5``."""
    with open(path, encoding="ascii") as file:
        text = file.read().strip()
    cpus: list[int] = []
    for part in text.split(","):
        if part:
            first, _, last = part.partition("-")
            cpus.extend(range(int(first), int(last or first) + 1))
    return tuple(cpus)


def possible_cpus() -> tuple[int, ...]:
    """Numbers of all CPUs that could ever come online (per-CPU maps have a slot for each)."""
    return _read_cpu_list("/sys/devices/system/cpu/possible")


def online_cpus() -> tuple[int, ...]:
    """Numbers of the CPUs online now."""
    return _read_cpu_list("/sys/devices/system/cpu/online")


def kernel_build_id() -> str | None:
    """The GNU build id of the running kernel in hexadecimal, or None if it has none."""
    return _build_id_note("/sys/kernel/notes")


def module_build_id(name: str) -> str | None:
    """The GNU build id of a loaded module in hexadecimal, or None."""
    return _build_id_note(f"/sys/module/{name}/notes/.note.gnu.build-id")


def _build_id_note(path: str) -> str | None:
    try:
        with open(path, "rb") as file:
            notes = file.read()
    except OSError:
        return None
    at = 0
    while at + 12 <= len(notes):
        name_size, size, kind = struct.unpack_from("=III", notes, at)
        start = at + 12 + (name_size + 3 & ~3)
        if kind == _NT_GNU_BUILD_ID and notes[at + 12 : at + 12 + name_size] == b"GNU\0":
            return notes[start : start + size].hex()
        at = start + (size + 3 & ~3)
    return None
