"""A module's file: what it says of itself, and its name changed.

A kernel module is an ELF file; ``.modinfo`` holds ``name=value`` texts, one behind another with
NULs between, and ``.gnu.linkonce.this_module`` the kernel's ``struct module`` with the name.
"""

from __future__ import annotations

import os
import struct

from pystap.typing import Final

_SIGNATURE: Final = b"~Module signature appended~\n"
_OURS: Final = "stap_"  # how parameters begin that are not the script's
_MARK: Final = "pystap"  # the word of .modinfo that tells whose module it is
_NAME_SIZE: Final = 56  # MODULE_NAME_LEN on 64 bits
_HEADER: Final = struct.Struct("<16x2HI3QI6H")
_SECTION: Final = struct.Struct("<2I4Q2I2Q")


class ModuleFileError(Exception):
    """A file that cannot be loaded; the message says why."""


class ModuleFile:
    """The module in a file."""

    def __init__(self, path: str) -> None:
        """Read it.  Raises ModuleFileError for what is no module made by pystap."""
        self.path = path
        try:
            with open(path, "rb") as file:
                self._data = file.read()
        except OSError as error:
            raise ModuleFileError(f"cannot read '{path}': {error.strerror}") from error
        self._sections = self._find_sections()
        words = self._read_info()
        self.info = dict(words)
        self._parameters = [value.partition(":")[0] for key, value in words if key == "parmtype"]
        if _MARK not in self.info:
            raise ModuleFileError(f"'{path}' is a kernel module, but was not made by stap")

    @property
    def name(self) -> str:
        """The name the kernel will give it."""
        return self.info.get("name", os.path.basename(self.path).removesuffix(".ko"))

    @property
    def release(self) -> str:
        """The kernel it was built for."""
        return self.info.get("vermagic", "").partition(" ")[0]

    @property
    def is_signed(self) -> bool:
        """Whether it carries a signature, which does not survive a change."""
        return self._data.endswith(_SIGNATURE)

    def check_settings(self, words: list[str]) -> None:
        """Raise ModuleFileError for a ``name=value`` whose name the module does not know."""
        for word in words:
            name = word.partition("=")[0]
            if name not in self._parameters:
                known = sorted(p for p in self._parameters if not p.startswith(_OURS))
                those = (
                    f"those that can be set are: {', '.join(known)}" if known else "there is none"
                )
                raise ModuleFileError(f"'{self.path}' has no global variable '{name}'; {those}")

    def renamed(self, name: str) -> bytes:
        """The file with another name of the module, of 55 bytes at most."""
        old, new = self.name.encode() + b"\0", name.encode()
        if len(new) >= _NAME_SIZE:
            raise ModuleFileError(f"the module name '{name}' is longer than {_NAME_SIZE - 1}")
        start, size = self._sections[".gnu.linkonce.this_module"]
        at = self._data.find(old, start, start + size)
        if at < 0:
            raise ModuleFileError(f"'{self.path}' does not hold the name it tells")
        filled = new.ljust(_NAME_SIZE, b"\0")
        return self._data[:at] + filled + self._data[at + _NAME_SIZE :]

    def _find_sections(self) -> dict[str, tuple[int, int]]:
        """Offset and size of each section."""
        data = self._data
        refused = ModuleFileError(f"'{self.path}' is no kernel module")
        if data[:6] != b"\x7fELF\x02\x01":
            raise refused
        try:
            fields = _HEADER.unpack_from(data)
            start, count, names = fields[5], fields[11], fields[12]
            rows = [_SECTION.unpack_from(data, start + i * _SECTION.size) for i in range(count)]
            at = rows[names][4]
            found = {}
            for row in rows:
                end = data.index(b"\0", at + row[0])
                found[data[at + row[0] : end].decode("latin-1")] = (row[4], row[5])
        except (struct.error, IndexError, ValueError) as error:
            raise refused from error
        if ".modinfo" not in found or ".gnu.linkonce.this_module" not in found:
            raise refused
        return found

    def _read_info(self) -> list[tuple[str, str]]:
        start, size = self._sections[".modinfo"]
        words = self._data[start : start + size].decode("latin-1").split("\0")
        return [(key, value) for key, _, value in (word.partition("=") for word in words if word)]


def find_module(word: str) -> str:
    """The file a command line means: a path, or a name in /lib/modules/RELEASE/systemtap."""
    if "/" in word or os.path.exists(word):
        return word
    directory = f"/lib/modules/{os.uname().release}/systemtap"
    name = word if word.endswith(".ko") else f"{word}.ko"
    path = os.path.join(directory, name)
    if os.path.exists(path):
        return path
    raise ModuleFileError(f"there is no module '{word}', neither here nor in {directory}")
