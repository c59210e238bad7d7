"""What a machine boots from: the uncompressed kernel and the initial file system."""

from __future__ import annotations

import stat
from pathlib import Path

from pystap.debuginfo.kernelbtf import kernel_in
from pystap.debuginfo.packing import unpacked

GUEST = Path(__file__).parent / "guest"
BUSYBOX = Path("/bin/busybox")
# Modules the start needs where the kernel does not have them built in.
_MODULES = ("virtio_pci", "virtio_console", "virtio_rng", "9pnet_virtio", "9p", "overlay")
_DIRECTORIES = ("bin", "modules", "proc", "sys", "dev", "host", "tree", "new", "up")
_ELF = b"\x7fELF"


class Archive:
    """A cpio archive of the form the kernel unpacks ("newc", Documentation/driver-api/early-
    userspace/buffer-format.rst); archives may follow each other in one file."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._inode = 0

    def directory(self, name: str) -> None:
        self._add(name, stat.S_IFDIR | 0o755)

    def file(self, name: str, data: bytes, mode: int = 0o755) -> None:
        self._add(name, stat.S_IFREG | mode, data)

    def console(self) -> None:
        self._add("dev/console", stat.S_IFCHR | 0o600, device=(5, 1))

    def finish(self) -> bytes:
        """The archive, ended."""
        self._add("TRAILER!!!", 0)
        return bytes(self._data)

    def _add(
        self, name: str, mode: int, data: bytes = b"", device: tuple[int, int] = (0, 0)
    ) -> None:
        self._inode += 1
        path = name.encode() + b"\0"
        fields = (self._inode, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(path), 0)
        self._data += b"070701" + b"".join(b"%08X" % number for number in fields) + path
        self._pad()
        self._data += data
        self._pad()

    def _pad(self) -> None:
        self._data += bytes(-len(self._data) % 4)


def write_vmlinux(compressed: Path, target: Path) -> None:
    """Take the kernel out of a bzImage.

    Raises ValueError if there is none, and OSError if it cannot be unpacked.
    """
    kernel = kernel_in(compressed.read_bytes())
    if not kernel.startswith(_ELF):
        raise ValueError(f"{compressed}: no kernel in it")
    target.write_bytes(kernel)


def write_initramfs(modules: Path, target: Path) -> None:
    """The part of the initial file system that is the same in every run of a kernel."""
    archive = Archive()
    for name in _DIRECTORIES:
        archive.directory(name)
    archive.console()
    archive.file("bin/busybox", BUSYBOX.read_bytes())
    for index, path in enumerate(_load_order(modules)):
        name = path.name.partition(".")[0]
        archive.file(f"modules/{index:02}-{name}.ko", unpacked(path.read_bytes()), 0o644)
    target.write_bytes(archive.finish())


def _load_order(modules: Path) -> list[Path]:
    """Files of the modules of the start, each after those it needs."""
    needs: dict[str, list[str]] = {}
    for line in (modules / "modules.dep").read_text().splitlines():
        path, _, needed = line.partition(":")
        needs[path] = needed.split()
    by_name = {Path(path).name.partition(".")[0].replace("-", "_"): path for path in needs}
    order: dict[str, None] = {}

    def visit(path: str) -> None:
        for needed in needs[path]:
            if needed not in order:
                visit(needed)
        order[path] = None

    for name in _MODULES:
        if name in by_name:
            visit(by_name[name])
    return [modules / path for path in order]
