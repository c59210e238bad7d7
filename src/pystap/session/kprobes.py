"""Attaching programs to kernel functions by kprobes and kprobe.multi links."""

from __future__ import annotations

import errno

from pystap.kernel.links import attach_kprobe_multi, attach_perf_event
from pystap.kernel.perf import open_kprobe
from pystap.probes.attach import KernelFunction
from pystap.session.attach import AttachError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pystap.backend.bpf.artifact import Artifact, ProgramSpec
    from pystap.debuginfo.functions import FunctionTable
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
    for index in spec.probes:
        try:
            where = places.where(index)
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
        if where.instance < 0:
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
