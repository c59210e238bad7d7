"""Attaching programs to user-space instructions by uprobe.multi links and perf events."""

from __future__ import annotations

import errno

from pystap.kernel.links import attach_perf_event, attach_uprobe_multi
from pystap.probes.attach import Uprobe
from pystap.session.attach import AttachError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pystap.backend.bpf.artifact import Artifact, ProgramSpec
    from pystap.kernel.programs import Program
    from pystap.session.attach import Attached

    Failure = Callable[[int, OSError], None]

# Not about one place: the file is gone, or probes are forbidden.
_FATAL = (errno.ENOENT, errno.EPERM, errno.EACCES, errno.ESRCH, errno.EMFILE, errno.ENOMEM)


def attach_uprobes(
    artifact: Artifact,
    spec: ProgramSpec,
    program: Program,
    attached: Attached,
    on_failure: Failure,
) -> None:
    """Attach each probe of a program at its place, told apart by the cookie; that of a session
    tells both probes, the entry's above.

    ``on_failure`` is told the probes whose place the kernel refuses; :class:`AttachError` is
    raised for what concerns more than a place.
    """
    entries: dict[int, int] | None = None
    indexes = spec.probes
    if spec.attach == "uprobe_session":
        indexes = spec.probes[1::2]
        entries = dict(zip(indexes, spec.probes[::2]))
    elif not spec.attach.endswith("_multi"):
        for index in indexes:
            _attach_one(artifact, index, program, attached, on_failure)
        return
    files: dict[tuple[str, int], list[int]] = {}
    for index in indexes:
        where = _where(artifact, index)
        files.setdefault((where.path, where.pid), []).append(index)
    for probes in files.values():
        _attach_multi(artifact, probes, program, attached, on_failure, entries)


def _where(artifact: Artifact, index: int) -> Uprobe:
    where = artifact.probes[index].attach
    assert isinstance(where, Uprobe)
    return where


def _attach_one(
    artifact: Artifact, index: int, program: Program, attached: Attached, on_failure: Failure
) -> None:
    from pystap.kernel.perf import open_uprobe

    where = _where(artifact, index)
    try:
        event = open_uprobe(
            where.path,
            where.offset,
            on_return=where.is_return,
            pid=where.pid or -1,
            semaphore=where.semaphore,
        )
        attached.add(attach_perf_event(program.fd, event.fd, index), event)
    except OSError as error:
        _refused(index, error, on_failure)


def _attach_multi(
    artifact: Artifact,
    probes: list[int],
    program: Program,
    attached: Attached,
    on_failure: Failure,
    entries: dict[int, int] | None,
) -> None:
    """One link for a file; when the kernel refuses it, halves, until it is clear because of which
    place.

    With ``entries``, the probes at the entry by those at the return, it is one for both.
    """
    places = [_where(artifact, index) for index in probes]
    counters = [place.semaphore for place in places]
    try:
        link = attach_uprobe_multi(
            program.fd,
            places[0].path,
            [place.offset for place in places],
            cookies=[probe | entries[probe] << 32 if entries else probe for probe in probes],
            semaphores=counters if any(counters) else (),
            pid=places[0].pid,
            on_return=places[0].is_return and entries is None,
            session=entries is not None,
        )
        attached.add(link)
    except OSError as error:
        if len(probes) == 1 or error.errno in _FATAL:
            _refused(probes[0], error, on_failure)
            return
        middle = len(probes) // 2
        _attach_multi(artifact, probes[:middle], program, attached, on_failure, entries)
        _attach_multi(artifact, probes[middle:], program, attached, on_failure, entries)


def _refused(index: int, error: OSError, on_failure: Failure) -> None:
    if error.errno in _FATAL:
        raise AttachError(index, error) from error
    on_failure(index, error)
