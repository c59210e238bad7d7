"""Attaching programs to kernel functions by kprobes and kprobe.multi links."""

from __future__ import annotations

import errno
import os

from pystap.kernel.links import attach_kprobe_multi, attach_perf_event
from pystap.kernel.perf import open_kprobe
from pystap.probes.attach import KernelFunction
from pystap.session.attach import AttachError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pystap.backend.bpf.artifact import Artifact, ProgramSpec
    from pystap.debuginfo.functions import FunctionTable
    from pystap.kernel.bpf import Handle
    from pystap.kernel.programs import Program
    from pystap.session.attach import Attached

    Failure = Callable[[int, OSError], None]


def attach_kprobes(
    artifact: Artifact,
    spec: ProgramSpec,
    program: Program,
    attached: Attached,
    on_failure: Failure,
) -> None:
    """Attach each probe of a program at its place, told apart by the cookie.

    ``on_failure`` is told the probes whose place the kernel refuses.
    """
    places = _Places(artifact)
    on_return = spec.attach.startswith("kretprobe")
    if spec.attach.endswith("_multi"):
        _attach_multi(places, list(spec.probes), program, attached, on_failure)
        return
    named = _Named(attached)
    for index in spec.probes:
        try:
            where = places.where(index)
            if where.later or (where.maxactive and on_return):
                event = named.open(index, where, places.address(index))
            else:
                address = places.address(index)
                event = open_kprobe(
                    "" if address else where.symbol,
                    offset=where.offset,
                    address=address + where.offset if address else 0,
                    on_return=on_return,
                )
            attached.add(attach_perf_event(program.fd, event.fd, index), event)
        except OSError as error:
            if error.errno == errno.EMFILE:  # the others would fare no better
                raise AttachError(index, error) from error
            on_failure(index, error)


class _Named:
    """Events with names, which are removed when the session ends, however it does."""

    def __init__(self, attached: Attached) -> None:
        self._attached = attached
        self._group = ""

    def open(self, index: int, where: KernelFunction, address: int) -> Handle:
        """The event of a probe."""
        from pystap.kernel.kprobe_events import define
        from pystap.kernel.perf import open_tracepoint

        if not self._group:
            self._group = f"pystap_{os.getpid()}_{index}"
            self._attached.at_end(_Removal(self._group))
        symbol, offset = where.symbol, where.offset
        if where.anchor:
            symbol, offset = where.anchor, where.apart + offset
        place = f"{where.module}:{symbol}" if where.module else symbol
        if address:
            place = f"{address:#x}"
        if offset:
            place += f"+{offset}"
        number = define(
            self._group, f"probe{index}", place, on_return=where.is_return, most=where.maxactive
        )
        return open_tracepoint(number)


class _Removal:
    """Removes the events of a group, or has it done."""

    def __init__(self, group: str) -> None:
        from pystap.session.guard import Guard

        self._group = group
        self._guard = Guard(self._remove)

    def close(self) -> None:
        """Remove them now."""
        self._remove()
        self._guard.close()

    def _remove(self) -> None:
        from pystap.kernel.kprobe_events import remove

        remove(self._group)


class _Places:
    """Where probes are: symbols are read only for those whose name is not enough."""

    def __init__(self, artifact: Artifact) -> None:
        self._artifact = artifact
        self._table: FunctionTable | None = None

    def where(self, index: int) -> KernelFunction:
        """The place of a probe as it was translated."""
        where = self._artifact.probes[index].attach
        assert isinstance(where, KernelFunction)
        return where

    def address(self, index: int) -> int:
        """The address of a probe's function, 0 when its name will do; OSError if it is gone."""
        where = self.where(index)
        if where.address:
            return where.address
        if where.instance < 0 or where.later:
            return 0
        return self.looked_up(index)

    def looked_up(self, index: int) -> int:
        """The address of a probe's function; OSError if it is gone."""
        from pystap.debuginfo import functions

        self._table = self._table or functions.FunctionTable()
        where = self.where(index)
        name = functions.KernelFunction(where.symbol, where.module, where.instance)
        address = self._table.address(name)
        if not address:
            raise OSError(errno.ENOENT, "the function is not there any more")
        return address


def _attach_multi(
    places: _Places, probes: list[int], program: Program, attached: Attached, on_failure: Failure
) -> None:
    """One link for all; when the kernel refuses it, halves, until it is clear because of which."""
    on_return = places.where(probes[0]).is_return
    by_name = all(places.where(i).instance < 0 and not places.where(i).module for i in probes)
    try:
        link = attach_kprobe_multi(
            program.fd,
            symbols=[places.where(i).symbol for i in probes] if by_name else (),
            addresses=() if by_name else [places.looked_up(i) for i in probes],
            cookies=probes,
            on_return=on_return,
        )
        attached.add(link)
    except OSError as error:
        if len(probes) == 1:
            on_failure(probes[0], error)
            return
        middle = len(probes) // 2
        _attach_multi(places, probes[:middle], program, attached, on_failure)
        _attach_multi(places, probes[middle:], program, attached, on_failure)
