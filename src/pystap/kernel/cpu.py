"""CPUs of the running kernel."""

from __future__ import annotations


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
