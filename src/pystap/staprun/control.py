"""The control file of a loaded module: it takes orders and tells how the session stands."""

from __future__ import annotations

import os

from pystap.typing import Final, NamedTuple

STARTING, RUNNING, STOPPING, FAILED = range(4)  # phases, as in the module's session.h
_PROC: Final = "/proc"
_PREFIX: Final = "pystap_"
_SIZE: Final = 1 << 16
_PLACE: Final = "place"  # before the number of a function whose address is wanted


class Status(NamedTuple):
    """How a session stands, as its control file tells.

    ``attached`` is the process that reads its output (0: none), ``overwritten`` counts records
    that gave way to newer ones while there was none, ``lost`` those that found no room;
    ``unknown`` counts files that user-space stacks led through for want of a table.
    """

    phase: int
    errors: int
    suppressed: int
    skipped: int
    lost: int
    overwritten: int
    missed: int
    unknown: int
    reason: int
    attached: int
    megabytes: int
    bulk: int
    failed: str
    lacks: str  # a symbol whose address the session needs, and nobody knows


class Control:
    """The open control file of the module ``name``; raises OSError when there is none."""

    def __init__(self, name: str) -> None:
        self.directory = directory_of(name)
        self._fd = os.open(f"{self.directory}/control", os.O_RDWR | os.O_CLOEXEC)

    def close(self) -> None:
        """Close it; a session that was not detached ends."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def tell(self, word: str) -> None:
        """Give the module an order."""
        os.write(self._fd, word.encode())

    def find_places(self) -> None:
        """Tell the module where data is, and functions that share their name with others."""
        wanted = [(key, text) for key, text in self._rows().items() if key.startswith(_PLACE)]
        if not wanted:
            return
        from pystap.debuginfo.functions import FunctionTable, KernelFunction
        from pystap.debuginfo.kallsyms import Kallsyms

        table, symbols = FunctionTable(), Kallsyms()
        for key, text in wanted:
            symbol, _, instance = text.rpartition(" ")
            module, _, name = symbol.rpartition(":")
            address = size = 0
            if int(instance) >= 0:
                address = table.address(KernelFunction(name, module, int(instance)))
            elif data := symbols.lookup(next(iter(symbols.addresses(name)), 0)):
                address, size = data.address, data.size
            if address:
                self.tell(f"place {key.removeprefix(_PLACE)} {address:x} {size}")

    def _rows(self) -> dict[str, str]:
        text = os.pread(self._fd, _SIZE, 0).decode("latin-1")
        return dict(line.partition(" ")[::2] for line in text.splitlines())

    def status(self) -> Status:
        """How the session stands."""
        rows = self._rows()
        failed, lacks = rows.pop("failed"), rows.pop("lacks")
        numbers = {name: int(rows[name]) for name in Status._fields[:-2]}
        return Status(**numbers, failed=failed, lacks=lacks)


def directory_of(name: str) -> str:
    """Where the files of a loaded module are."""
    return f"{_PROC}/{_PREFIX}{name}"


def loaded_modules() -> list[str]:
    """Names of all loaded modules that were made by pystap."""
    names = [entry for entry in os.listdir(_PROC) if entry.startswith(_PREFIX)]
    return sorted(entry.removeprefix(_PREFIX) for entry in names)
