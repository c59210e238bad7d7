"""Attaching programs.  Each function returns a :class:`Link`; closing it detaches.

Cookies are 64-bit values that ``bpf_get_attach_cookie`` gives back to the program.
"""

from __future__ import annotations

import os
import struct

from pystap.kernel.bpf import (
    F_MULTI_RETURN,
    ITER_CREATE,
    LINK_CREATE,
    PERF_EVENT,
    RAW_TRACEPOINT_OPEN,
    TRACE_ITER,
    TRACE_KPROBE_MULTI,
    TRACE_UPROBE_MULTI,
    TRACE_UPROBE_SESSION,
    Handle,
    bpf,
    object_info,
    pack,
)
from pystap.kernel.syscalls import Buffer, address_of, buffer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_LINK_TYPE_PERF_EVENT, _LINK_TYPE_KPROBE_MULTI = 7, 8
_PERF_INFO_KPROBES = (3, 4)


class Link(Handle):
    """An attachment; ``close`` detaches."""

    __slots__ = ()


def attach_raw_tracepoint(program_fd: int, name: str, cookie: int = 0) -> Link:
    """Attach a raw tracepoint program to the tracepoint ``name`` (no subsystem)."""
    text = buffer(name.encode("latin-1") + b"\0")
    if cookie:
        attr = pack("QIIQ", address_of(text), program_fd, 0, cookie)
    else:
        attr = pack("QII", address_of(text), program_fd, 0)
    return Link(bpf(RAW_TRACEPOINT_OPEN, attr))


def attach_tracing(program_fd: int, attach_type: int, cookie: int = 0) -> Link:
    """Attach a TRACING program where it was loaded for.

    ``attach_type`` is the one given to the load: ``TRACE_RAW_TP``, ``TRACE_FENTRY`` or
    ``TRACE_FEXIT``.
    """
    return Link(bpf(LINK_CREATE, pack("IIIIIIQ", program_fd, 0, attach_type, 0, 0, 0, cookie)))


def attach_perf_event(program_fd: int, event_fd: int, cookie: int = 0) -> Link:
    """Attach to an open perf event; the event must stay open as long as the link."""
    return Link(bpf(LINK_CREATE, pack("IIIIQ", program_fd, event_fd, PERF_EVENT, 0, cookie)))


def run_iterator(program_fd: int) -> bytes:
    """Run a loaded iterator program over everything its iterator visits; what it wrote."""
    written: list[bytes] = []
    attr = pack("IIIIQI4x", program_fd, 0, TRACE_ITER, 0, 0, 0)
    with (
        Link(bpf(LINK_CREATE, attr)) as link,
        Handle(bpf(ITER_CREATE, pack("II", link.fd, 0))) as run,
    ):
        while True:
            try:
                data = os.read(run.fd, 4096)
            except BlockingIOError:  # many visits and nothing written yet: the kernel took a break
                continue
            if not data:
                return b"".join(written)
            written.append(data)


def attach_kprobe_multi(
    program_fd: int,
    *,
    symbols: Sequence[str] = (),
    addresses: Sequence[int] = (),
    cookies: Sequence[int] = (),
    on_return: bool = False,
) -> Link:
    """Attach to many kernel functions, given as ``symbols`` or else as ``addresses``.

    ``cookies`` is empty or as long as the list; the kernel pairs them by position.
    """
    count = len(symbols) or len(addresses)
    names = [buffer(s.encode("latin-1") + b"\0") for s in symbols]
    pointers = _u64_array([address_of(n) for n in names])
    places = _u64_array(addresses if not symbols else ())
    labels = _u64_array(_checked(cookies, count))
    attr = pack(
        "IIIIIIQQQ",
        *(program_fd, 0, TRACE_KPROBE_MULTI, 0, F_MULTI_RETURN if on_return else 0, count),
        *(address_of(pointers), address_of(places), address_of(labels)),
    )
    return Link(bpf(LINK_CREATE, attr))


def attach_uprobe_multi(
    program_fd: int,
    path: str,
    offsets: Sequence[int],
    *,
    cookies: Sequence[int] = (),
    semaphores: Sequence[int] = (),
    pid: int = 0,
    on_return: bool = False,
    session: bool = False,
) -> Link:
    """Attach to many places of one file, given as file offsets.

    A ``session`` is a program for the entry and the return of functions.

    ``semaphores`` (file offsets of USDT reference counters, 0 for none) and ``cookies`` are
    empty or as long as ``offsets``.  ``pid`` 0 means every process.
    """
    count = len(offsets)
    text = buffer(os.fsencode(path) + b"\0")
    places = _u64_array(offsets)
    counters = _u64_array(_checked(semaphores, count))
    labels = _u64_array(_checked(cookies, count))
    attr = pack(
        "IIIIQQQQIIi4x",
        *(program_fd, 0, TRACE_UPROBE_SESSION if session else TRACE_UPROBE_MULTI, 0),
        *(address_of(text), address_of(places), address_of(counters), address_of(labels)),
        *(count, F_MULTI_RETURN if on_return else 0, pid),
    )
    return Link(bpf(LINK_CREATE, attr))


def link_missed(link_fd: int) -> int:
    """Hits the kernel says a kprobe or kprobe.multi link missed; 0 where it keeps no count."""
    info = object_info(link_fd, 64)
    kind, _, _, _, head, _ = struct.unpack_from("=IIIIII", info, 0)
    if kind == _LINK_TYPE_KPROBE_MULTI:
        (missed,) = struct.unpack_from("=Q", info, 32)
    elif kind == _LINK_TYPE_PERF_EVENT and head in _PERF_INFO_KPROBES:
        (missed,) = struct.unpack_from("=Q", info, 48)
    else:
        return 0
    value: int = missed
    return value


def _checked(values: Sequence[int], count: int) -> Sequence[int]:
    if values and len(values) != count:
        raise ValueError(f"{len(values)} values for {count} places")
    return values


def _u64_array(values: Sequence[int]) -> Buffer | None:
    return buffer(struct.pack(f"={len(values)}Q", *values)) if values else None
