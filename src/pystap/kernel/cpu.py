"""Facts about the machine and the running kernel: CPUs, tick rate, build, configuration."""

from __future__ import annotations

import os
import struct

_NT_GNU_BUILD_ID = 3
#: CLOCK_MONOTONIC_COARSE of <linux/time.h>; the time module has no name for it
_CLOCK_MONOTONIC_COARSE = 6


def possible_cpus() -> tuple[int, ...]:
    """Numbers of all CPUs that could ever come online (per-CPU maps have a slot for each)."""
    return _read_cpu_list("/sys/devices/system/cpu/possible")


def online_cpus() -> tuple[int, ...]:
    """Numbers of the CPUs online now."""
    return _read_cpu_list("/sys/devices/system/cpu/online")


def _read_cpu_list(path: str) -> tuple[int, ...]:
    with open(path, encoding="ascii") as file:
        return parse_cpu_list(file.read())


def parse_cpu_list(text: str) -> tuple[int, ...]:
    """CPU numbers from the kernel's notation, e.g. ``0-3,5``."""
    cpus: list[int] = []
    for part in text.strip().split(","):
        if part:
            first, _, last = part.partition("-")
            cpus.extend(range(int(first), int(last or first) + 1))
    return tuple(cpus)


def tick_rate() -> int:
    """CONFIG_HZ, the timer interrupts per second of the running kernel.

    The coarse clocks advance once a tick, and their resolution is exactly one tick
    (``LOW_RES_NSEC`` is ``TICK_NSEC``, 10**9 / HZ rounded, in the kernel's include/linux), so
    clock_getres(2) tells without privilege or configuration file.  ``sysconf(_SC_CLK_TCK)`` is
    USER_HZ, always 100, and is not it.
    """
    import time

    return round(1 / time.clock_getres(_CLOCK_MONOTONIC_COARSE))


def boot_id() -> str:
    """A random identifier the kernel makes at each boot."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def kernel_key() -> str:
    """Identifies the running kernel's build, for caches: build id, release and version."""
    names = os.uname()
    return f"{kernel_build_id() or '-'} {names.machine} {names.release} {names.version}"


def kernel_build_id() -> str | None:
    """The GNU build id of the running kernel in hexadecimal, or None if it has none."""
    return _build_id_file("/sys/kernel/notes")


def module_build_id(name: str) -> str | None:
    """The GNU build id of a loaded module in hexadecimal, or None."""
    return _build_id_file(f"/sys/module/{name}/notes/.note.gnu.build-id")


def build_id_note(notes: bytes, order: str = "=") -> str | None:
    """The GNU build id in the bytes of an ELF note section, or None.

    A note is sizes of name and descriptor, type, name and descriptor, padded to 4 bytes (elf(5));
    ``order`` is the byte order character of :mod:`struct`.
    """
    at = 0
    while at + 12 <= len(notes):
        name_size, size, kind = struct.unpack_from(order + "III", notes, at)
        start = at + 12 + ((name_size + 3) & ~3)
        if kind == _NT_GNU_BUILD_ID and notes[at + 12 : at + 12 + name_size] == b"GNU\0":
            return notes[start : start + size].hex()
        at = start + ((size + 3) & ~3)
    return None


def _build_id_file(path: str) -> str | None:
    try:
        with open(path, "rb") as file:
            return build_id_note(file.read())
    except OSError:
        return None


class KernelConfig:
    """The configuration a kernel was built with; ``path`` is where it was read."""

    __slots__ = ("_text", "path")

    def __init__(self, path: str, text: bytes) -> None:
        self.path = path
        self._text = b"\n" + text

    def get(self, option: str) -> str | None:
        """The value of ``CONFIG_...``: ``y``, ``m``, a number, or a string without its quotes.

        None if the option is not set.
        """
        start = self._text.find(b"\n" + option.encode("latin-1") + b"=")
        if start < 0:
            return None
        start += len(option) + 2
        end = self._text.find(b"\n", start)
        value = self._text[start : end if end >= 0 else None].decode("latin-1")
        if len(value) >= 2 and value[0] == value[-1] == '"':
            return value[1:-1].replace('\\"', '"').replace("\\\\", "\\")
        return value


def kernel_config(release: str = "", root: str = "") -> KernelConfig | None:
    """The configuration of kernel ``release``, by default of the running one; None if not found.

    ``/proc/config.gz`` is asked first, for the running kernel only.  With ``root`` only files
    below that directory are looked at.
    """
    running = os.uname().release
    release = release or running
    if release == running and not root:
        try:
            with open("/proc/config.gz", "rb") as file:
                import zlib

                return KernelConfig(file.name, zlib.decompress(file.read(), 31))
        except FileNotFoundError:
            pass  # built without CONFIG_IKCONFIG_PROC: look for a file
    for path in (
        f"{root}/boot/config-{release}",
        f"{root}/lib/modules/{release}/config",
        f"{root}/lib/modules/{release}/build/.config",
    ):
        if os.path.exists(path):
            with open(path, "rb") as file:
                return KernelConfig(path, file.read())
    return None
