"""The probe that fired, and the session it belongs to."""

from __future__ import annotations

from collections.abc import Callable

from pystap.backend.reference.context_values import read_context_value
from pystap.probes import attach
from pystap.typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pystap.backend.reference.state import Context
    from pystap.ir.ops import Intrinsic

_KINDS: Final[dict[type, str]] = {
    attach.Timer: "hrtimer",
    attach.Profile: "perf",
    attach.PerfEvent: "perf",
    attach.Tracepoint: "tracepoint",
    attach.SyscallEvent: "tracepoint",
    attach.ProcessEvent: "tracepoint",
}


def _kind(context: Context, _op: Intrinsic) -> str:
    place = context.probe.attach
    match place:
        case attach.SessionEvent():
            return place.kind
        case attach.Uprobe():
            return "uretprobe" if place.is_return else "uprobe"
        case attach.KernelFunction():
            return "kretprobe" if place.is_return else "kprobe"
    return _KINDS[type(place)]


def _is_return(context: Context, _op: Intrinsic) -> int:
    match context.probe.attach:
        case attach.Uprobe(is_return=is_return) | attach.KernelFunction(is_return=is_return):
            return int(is_return)
        case attach.SyscallEvent(edge=edge):
            return int(edge == "exit")
    return 0


def _ppfunc(context: Context, _op: Intrinsic) -> str:
    """The function name in the probe point: what stands in ``function("NAME@...")``."""
    _, _, rest = context.probe.point.partition('function("')
    name, quote, _ = rest.partition('"')
    return name.partition("@")[0] if quote else ""


def _event(kind: str) -> Callable[..., int]:
    return lambda context, _op, index=0: read_context_value(context, kind, index)


IMPLEMENTATIONS: Final[dict[str, Callable[..., Any]]] = {
    "pp": lambda context, _op: context.probe.point,
    "pn": lambda context, _op: context.probe.name,
    "ppfunc": _ppfunc,
    "probe_kind": _kind,
    "is_return": _is_return,
    "user_mode": lambda context, _op: int(context.event.user_mode),
    "addr": _event("ip"),
    "uaddr": lambda context, _op: context.event.user_ip,
    "returnval": lambda context, _op: context.event.retval,
    "funcarg": _event("funcarg"),
    "reg": _event("reg"),
    "target": lambda context, _op: context.state.environment.target,
    "stp_pid": lambda context, _op: context.state.environment.stp_pid,
    "module_name": lambda context, _op: context.state.environment.module_name,
    "maxstringlen": lambda context, _op: context.state.module.limits.maxstringlen,
}
