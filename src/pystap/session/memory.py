"""What the maps of a session take of the machine's memory, known before any is created.

The kernel allocates all of a map at once, and a large enough request may bring other programs
down before it fails.
"""

from __future__ import annotations

from pystap.kernel.bpf import (
    MAP_TYPE_ARRAY,
    MAP_TYPE_PERCPU_ARRAY,
    MAP_TYPE_PERCPU_HASH,
    MAP_TYPE_RINGBUF,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pystap.backend.bpf.artifact import Artifact, MapSpec

_ELEMENT = 48  # struct htab_elem of the kernel, in front of key and value
_BUCKET = 16  # one a power of two of elements
_NO_PREALLOC = 1
_HARMLESS = 64 << 20  # bytes; nobody looks at what is available before asking for less
_SHARE = 2  # a script may take one part in so many of what is available
_SHOWN = 5  # maps named in a message


class TooMuchMemoryError(Exception):
    """The maps would take more memory than is sensible or allowed; ``lines`` say so."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__(lines[0])
        self.lines = lines


def check_memory(artifact: Artifact, cpus: int, contexts: int, buffer_bytes: int) -> None:
    """Refuse to start with maps that need more memory than STP_MAXMEMORY says, or than half of
    what the machine can give.

    ``cpus`` is the number of possible CPUs, ``contexts`` how many contexts there are, and
    ``buffer_bytes`` the size of the ring buffer.  Raises :class:`TooMuchMemoryError`.
    """
    sizes = [_bytes(_sized(spec, contexts, buffer_bytes), cpus) for spec in artifact.maps]
    total = sum(sizes)
    if artifact.maxmemory and total > artifact.maxmemory * 1024:
        limit = f"the {artifact.maxmemory} kB of STP_MAXMEMORY"
        raise TooMuchMemoryError(_complaint(artifact, sizes, f"{-(-total // 1024)} kB", limit))
    if total > _HARMLESS:
        available = _available()
        if available is not None and total > available // _SHARE:
            limit = f"half of the {readable(available)} available"
            raise TooMuchMemoryError(_complaint(artifact, sizes, readable(total), limit))


def readable(size: int) -> str:
    """A number of bytes as people write it."""
    for unit in ("bytes", "kB", "MB"):
        if size < 10_000:
            return f"{size} {unit}"
        size //= 1000
    return f"{size} GB"


def _sized(spec: MapSpec, contexts: int, buffer_bytes: int) -> MapSpec:
    if spec.max_entries:
        return spec
    ring = spec.type == MAP_TYPE_RINGBUF
    return spec._replace(max_entries=buffer_bytes if ring else contexts)


def _bytes(spec: MapSpec, cpus: int) -> int:
    """About what the kernel allocates for a map when it is created."""
    value = (spec.value_size + 7) & ~7
    if spec.type == MAP_TYPE_RINGBUF:
        return spec.max_entries
    if spec.type == MAP_TYPE_ARRAY:
        return spec.max_entries * value
    if spec.type == MAP_TYPE_PERCPU_ARRAY:
        return spec.max_entries * (8 + value * cpus)
    element = _ELEMENT + ((spec.key_size + 7) & ~7)
    element += 8 + value * cpus if spec.type == MAP_TYPE_PERCPU_HASH else value
    buckets = 1 << (spec.max_entries - 1).bit_length()
    if spec.flags & _NO_PREALLOC:
        return buckets * _BUCKET
    return spec.max_entries * element + buckets * _BUCKET


def _available() -> int | None:
    """Bytes that can be had without swapping, by the machine's and the control group's account;
    None when unknown."""
    found = [size for size in (_of_machine(), _of_group()) if size is not None]
    return min(found, default=None)


def _of_machine() -> int | None:
    for line in _read("/proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _of_group() -> int | None:
    """What the control groups (version 2) that this process is in leave of their limits."""
    path = next((p[3:] for p in _read("/proc/self/cgroup").splitlines() if p[:3] == "0::"), "")
    least = None
    while path:
        limit = _read(f"/sys/fs/cgroup{path}/memory.max").strip()
        used = _read(f"/sys/fs/cgroup{path}/memory.current").strip()
        if limit.isdigit() and used.isdigit():
            left = max(0, int(limit) - int(used))
            least = left if least is None else min(least, left)
        path = path.rpartition("/")[0]
    return least


def _read(path: str) -> str:
    try:
        with open(path, encoding="latin-1") as file:
            return file.read()
    except OSError:
        return ""


def _complaint(artifact: Artifact, sizes: list[int], total: str, limit: str) -> list[str]:
    """Lines that name what is large."""
    arrays = {g.name for g in artifact.globals if g.kind == "array"}
    of_array: dict[str, int] = {}
    others = 0
    for spec, size in zip(artifact.maps, sizes):
        name = spec.role.partition(":")[2]
        if name in arrays:
            of_array[name] = of_array.get(name, 0) + size
        else:
            others += size
    capacity = {m.role: m.max_entries for m in artifact.maps}
    largest = sorted(of_array, key=lambda name: -of_array[name])[:_SHOWN]
    lines = [f"ERROR: the script needs {total} of kernel memory, more than {limit}."]
    for name in largest:
        count = capacity[f"global:{name}"]
        lines.append(f"        {name}: {count} elements, {readable(of_array[name])}")
    lines.append(f"        output, handlers and all else: {readable(others)}")
    if largest:
        lines.append(
            f"        Give arrays a smaller size (global {largest[0]}[SIZE]) or lower "
            "-D MAXMAPENTRIES."
        )
    return lines
