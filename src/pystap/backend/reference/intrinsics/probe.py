"""The probe that fired, and the session it belongs to."""

from __future__ import annotations

from collections.abc import Callable

from pystap.backend.reference.context_values import read_context_value
from pystap.probes import attach
from pystap.typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    pass


def _event(kind: str) -> Callable[..., int]:
    return lambda context, _op, index=0: read_context_value(context, kind, index)


IMPLEMENTATIONS: Final[dict[str, Callable[..., Any]]] = {
    "pp": lambda context, _op: context.probe.point,
    "pn": lambda context, _op: context.probe.name,
    "ppfunc": lambda context, _op: context.probe.function(),
    "probe_kind": lambda context, _op: attach.kind_of(context.probe.attach),
    "is_return": lambda context, _op: int(attach.is_return(context.probe.attach)),
    "user_mode": lambda context, _op: int(context.event.user_mode),
    "addr": _event("ip"),
    "uaddr": lambda context, _op: context.event.user_ip,
    "returnval": lambda context, _op: context.event.retval,
    "funcarg": _event("funcarg"),
    "reg": _event("reg"),
    "perf_counter": lambda _context, _op: 0,  # nothing counts here
    "kernel_place": lambda _context, _op: 0,  # there is no kernel here
    "verdict": lambda _context, _op: 1,  # there are no packets here
    "set_verdict": lambda _context, _op, verdict: verdict,
    "set_hook_result": lambda _context, _op, result: result,  # nor hooks
    "target": lambda context, _op: context.state.environment.target,
    "stp_pid": lambda context, _op: context.state.environment.stp_pid,
    "module_name": lambda context, _op: context.state.environment.module_name,
    "maxstringlen": lambda context, _op: context.state.module.limits.maxstringlen,
}
