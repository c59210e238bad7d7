"""Creates an artifact's maps and loads its programs."""

from __future__ import annotations

import struct

from pystap.backend.bpf.artifact import (
    CONTROL_CYCLES_PER_US,
    CONTROL_GMTOFF,
    CONTROL_HZ,
    CONTROL_MODULE_NAME,
    CONTROL_NAME_WORDS,
    CONTROL_REALTIME,
    CONTROL_STP_PID,
    CONTROL_TARGET,
    CONTROL_TZ_NAME,
    LEVELS,
    Artifact,
    MapSpec,
    ProgramSpec,
)
from pystap.kernel.bpf import F_SLEEPABLE, MAP_TYPE_ARRAY, MAP_TYPE_HASH_OF_MAPS, BpfError
from pystap.kernel.maps import Map, create_map
from pystap.kernel.programs import Program, kernel_btf_object, load_btf, load_program
from pystap.kernel.ringbuf import RingBuffer
from pystap.session.memory import check_memory


class LoadError(Exception):
    """A map or program the kernel refused.

    ``what`` names it, ``error`` is the kernel's, ``log`` the verifier's log ("" for maps),
    ``probes`` are the indexes of the probes concerned, and ``map`` is a map's specification.
    """

    def __init__(
        self,
        what: str,
        error: BpfError,
        probes: tuple[int, ...] = (),
        map: MapSpec | None = None,  # noqa: A002 - the name of the thing
    ) -> None:
        super().__init__(f"{what}: {error}")
        self.what = what
        self.error = error
        self.log = error.detail
        self.probes = probes
        self.map = map


class FilesError(Exception):
    """The files of the session cannot be made; the message says why."""


class Loaded:
    """The kernel objects of one session; ``close`` gives everything back."""

    __slots__ = ("artifact", "by_role", "context", "control", "maps", "programs", "ring")

    def __init__(self, artifact: Artifact, cpus: int, buffer_bytes: int) -> None:
        """Create all maps.  ``cpus`` is the number of possible CPUs; ``buffer_bytes`` (a power
        of two) sizes the ring buffer.  Raises :class:`LoadError`, and
        :class:`~pystap.session.memory.TooMuchMemoryError` before anything is created."""
        check_memory(artifact, cpus, cpus * LEVELS, buffer_bytes)
        self.artifact = artifact
        self.maps: list[Map] = []
        self.programs: list[Program] = []
        self.by_role: dict[str, Map] = {}
        self.ring: RingBuffer | None = None
        try:
            for spec in artifact.maps:
                made = _create(spec, cpus, buffer_bytes)
                self.maps.append(made)
                self.by_role[spec.role] = made
                if spec.role == "output":
                    self.ring = RingBuffer(made.fd, buffer_bytes)
        except BaseException:
            self.close()
            raise
        self.control = self.by_role["control"].mmap().view.cast("Q")
        self.context = self.by_role["context"].mmap().view.cast("Q")

    def load(self, spec: ProgramSpec) -> Program:
        """Load one program, its map references filled in.  Raises :class:`LoadError`."""
        code = bytearray(spec.insns)
        for at, index in spec.fixups:
            struct.pack_into("=i", code, at * 8 + 4, self.maps[index].fd)
        btf = load_btf(spec.btf) if spec.btf else None
        module = kernel_btf_object(spec.attach_btf_module) if spec.attach_btf_module else None
        host, attach_btf_id = None, spec.attach_btf_id
        try:
            if spec.attach == "netfilter":
                from pystap.kernel.netfilter import load_passing_program

                host, attach_btf_id = load_passing_program()
            program = load_program(
                spec.type,
                bytes(code),
                name=spec.name,
                flags=F_SLEEPABLE if spec.sleepable else 0,
                expected_attach_type=spec.expected_attach,
                attach_btf_id=attach_btf_id,
                attach_btf_fd=module.fd if module else host.fd if host else 0,
                btf_fd=btf.fd if btf else 0,
                func_info=spec.func_info,
            )
        except BpfError as error:
            if host is not None:
                host.close()
            raise LoadError(spec.name, error, spec.probes) from error
        finally:
            for handle in (btf, module):
                if handle is not None:
                    handle.close()
        program.host = host
        self.programs.append(program)
        return program

    def close(self) -> None:
        """Close every program and map."""
        for handle in [*self.programs, *self.maps]:
            handle.close()
        self.programs.clear()
        self.maps.clear()


def _create(spec: MapSpec, cpus: int, buffer_bytes: int) -> Map:
    if spec.type == MAP_TYPE_HASH_OF_MAPS:
        return _create_of_tables(spec)
    entries = spec.max_entries
    if entries == 0:
        entries = buffer_bytes if spec.role == "output" else cpus * LEVELS
    try:
        made = create_map(
            spec.type,
            spec.key_size,
            spec.value_size,
            entries,
            flags=spec.flags,
            name=spec.name,
        )
    except BpfError as error:
        raise LoadError(f"map {spec.name}", error, map=spec) from error
    if spec.content:
        made.update(bytes(spec.key_size), spec.content)
    if spec.frozen:
        made.freeze()
    return made


def _create_of_tables(spec: MapSpec) -> Map:
    """A map whose elements are tables of programs (see ``session/usertables.py``)."""
    from pystap.debuginfo.objecttable import ELEMENT
    from pystap.session.usertables import TABLE_FLAGS

    try:
        pattern = create_map(MAP_TYPE_ARRAY, 4, ELEMENT, 1, flags=TABLE_FLAGS)
        try:
            return create_map(
                spec.type,
                spec.key_size,
                spec.value_size,
                spec.max_entries,
                name=spec.name,
                inner_map_fd=pattern.fd,
            )
        finally:
            pattern.close()
    except BpfError as error:
        raise LoadError(f"map {spec.name}", error, map=spec) from error


def fill_control(loaded: Loaded, target: int, hz: int) -> None:
    """Set the words of the control map that handlers read."""
    import os
    import time

    control = loaded.control
    control[CONTROL_TARGET] = target
    control[CONTROL_STP_PID] = os.getpid()
    control[CONTROL_HZ] = hz
    control[CONTROL_GMTOFF] = time.timezone & (2**64 - 1)
    control[CONTROL_CYCLES_PER_US] = _cycles_per_us()
    _fill_text(control, CONTROL_TZ_NAME, time.tzname[0])
    _fill_text(control, CONTROL_MODULE_NAME, module_name())
    refresh_realtime(loaded)


def module_name() -> str:
    """What module_name() gives, and the session's directory is called."""
    import os

    return f"stap_{os.getpid()}"


def _fill_text(control: memoryview, word: int, text: str) -> None:
    """Store a NUL-terminated text over the words kept for it."""
    size = 8 * CONTROL_NAME_WORDS
    data = text.encode("utf-8")[: size - 1].ljust(size, b"\0")
    for i in range(CONTROL_NAME_WORDS):
        control[word + i] = int.from_bytes(data[8 * i : 8 * i + 8], "little")


def refresh_realtime(loaded: Loaded) -> None:
    """Bring CLOCK_REALTIME - CLOCK_MONOTONIC up to date."""
    import time

    before = time.monotonic_ns()
    real = time.time_ns()
    after = time.monotonic_ns()
    loaded.control[CONTROL_REALTIME] = real - (before + after) // 2


def _cycles_per_us() -> int:
    """The CPU's nominal clock from /proc/cpuinfo, 1000 where it does not tell."""
    try:
        with open("/proc/cpuinfo", encoding="latin-1") as file:
            for line in file:
                if line.startswith("cpu MHz"):
                    return max(1, round(float(line.partition(":")[2])))
    except (OSError, ValueError):
        return 1000
    return 1000
