"""Intrinsics as calls of the C runtime."""

from __future__ import annotations

from pystap.backend.kmod import tables
from pystap.backend.kmod.writer import number
from pystap.ir import ops
from pystap.ir.intrinsics import INTRINSICS
from pystap.ir.types import Ty
from pystap.typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pystap.backend.kmod.writer import Writer

# {0}, {1} ... are the arguments, {pos} the position, {to} and {size} where a string goes.
_LONGS: Final = {
    "pid": "here_pid()",
    "tid": "here_tid()",
    "uid": "here_uid()",
    "gid": "here_gid()",
    "cpu": "(s64)this_cpu()",
    "task_current": "here_address()",
    "cgroup_id": "here_cgroup()",
    "is_return": "(s64)probes[c->probe].is_return",
    "user_mode": "event_user_mode(c)",
    "addr": "event_address(c)",
    "uaddr": "here_user_address()",
    "returnval": "c->event->result",
    "funcarg": "event_argument(c, {0})",
    "reg": "event_register(c, {0})",
    "target": "session_target()",
    "in_target": "here_in_target()",
    "stp_pid": "session_pid()",
    "ktime_get_ns": "clock_monotonic()",
    "ktime_get_boot_ns": "clock_boot()",
    "gettimeofday_ns": "clock_real()",
    "get_cycles": "clock_cycles()",
    "jiffies": "clock_jiffies()",
    "hz": "clock_hz()",
    "page_size": "(s64)4096",
    "maxstringlen": "(s64)MAXSTRINGLEN",
    "tz_gmtoff": "session_west()",
    "kernel_read_or": "read_or({0}, {1}, {2}, false)",
    "user_read_or": "read_or({0}, {1}, {2}, true)",
    "strlen": "(s64)strlen({0})",
    "stringat": "stringat(c, {0}, {1}, {pos})",
    "isinstr": "(s64)(strstr({0}, {1}) != NULL)",
    "strpos": "strpos({0}, {1})",
    "isdigit": "(s64)(*{0} >= '0' && *{0} <= '9')",
    "strtol": "text_number({0}, {1})",
    "field_size": "field_size(c, {0}, {1}, {pos})",
    "ngroups": "ngroups(c, {pos})",
    "random": "random_bits()",
    "raise_signal": "raise_signal({0})",
    "error": "fault(c, {pos}, {0})",
    "warn": "warn({0})",
    "exit": "session_exit()",
    "abort": "session_abort(c)",
    "system": "system_command({0})",
    "user_write": "user_write(c, {0}, {1}, {2}, {pos})",
}
_TEXTS: Final = {
    "execname": "here_name({to})",
    "module_name": "copy_string({to}, MODULE_NAME_TEXT, {size})",
    "pp": "copy_string({to}, probes[c->probe].point, {size})",
    "pn": "copy_string({to}, probes[c->probe].name, {size})",
    "ppfunc": "copy_string({to}, probes[c->probe].function, {size})",
    "probe_kind": "copy_string({to}, probes[c->probe].kind, {size})",
    "tz_name": "copy_string({to}, session_zone(), {size})",
    "kernel_string": "read_text(c, {to}, {size}, {0}, {1}, false, {pos})",
    "user_string": "read_text(c, {to}, {size}, {0}, {1}, true, {pos})",
    "kernel_string_or": "read_text_or({to}, {size}, {0}, {1}, {2}, false)",
    "user_string_or": "read_text_or({to}, {size}, {0}, {1}, {2}, true)",
    "kernel_string_quoted": "read_quoted(c, {to}, {size}, {0}, {1}, {2}, false)",
    "user_string_quoted": "read_quoted(c, {to}, {size}, {0}, {1}, {2}, true)",
    "kernel_buffer_quoted": "read_buffer_quoted(c, {to}, {size}, {0}, {1}, {2}, false)",
    "user_buffer_quoted": "read_buffer_quoted(c, {to}, {size}, {0}, {1}, {2}, true)",
    "substr": "substr({to}, {size}, {0}, {1}, {2})",
    "str_replace": "str_replace({to}, {size}, {0}, {1}, {2})",
    "tokenize": "tokenize(c, {to}, {size}, {0}, {1})",
    "tokenize_next": "tokenize_next(c, {to}, {size}, {0})",
    "text_str": "text_plain({to}, {size}, {0}, 0)",
    "text_strn": "text_strn({to}, {size}, {0}, {1}, {2})",
    "byte_str": "byte_str({to}, {0})",
    "matched": "matched(c, {to}, {size}, {0}, {pos})",
}
_TABLES: Final = ("table_str", "table_num", "flags_str")
DUMPS: Final = ("kernel_bytes", "user_bytes")  # as arguments of %m and %M
_LEAVES: Final = ("error", "abort")  # nothing behind them runs


def is_known(name: str) -> bool:
    """Whether this runtime has an intrinsic."""
    return name in _LONGS or name in _TEXTS or name in _TABLES or name in DUMPS


def long_of(w: Writer, expr: ops.Intrinsic) -> str:
    """An intrinsic that gives a number or nothing; the C expression of its value."""
    from pystap.backend.kmod.expressions import values_of

    info = INTRINSICS[expr.name]
    args = values_of(w, expr.args)
    if expr.name in _TABLES:
        return w.temp(tables.number_call(w.unit, expr, args))
    call = _LONGS[expr.name].format(*args, pos=expr.pos)
    if info.result is Ty.VOID:
        w.line(f"{call};")
        result = "0"
    else:
        result = w.temp(call)
    if expr.name in _LEAVES:
        w.line(w.goto(w.fault_label()))
    elif info.fallible:
        w.check()
    return result


def text_into(w: Writer, expr: ops.Intrinsic, to: str, size: str) -> None:
    """An intrinsic that gives a string."""
    from pystap.backend.kmod.expressions import values_of

    args = values_of(w, expr.args)
    if expr.name in _TABLES:
        w.line(tables.text_call(w.unit, expr, args, to, size))
        return
    w.line(_TEXTS[expr.name].format(*args, pos=expr.pos, to=to, size=size) + ";")
    if INTRINSICS[expr.name].fallible:
        w.check()


def memory_dump(w: Writer, expr: ops.Intrinsic) -> str:
    """Bytes of memory for %m and %M: address and number of them, as two C arguments."""
    from pystap.backend.kmod.expressions import values_of

    address, count = values_of(w, expr.args)
    room = w.string(w.unit.sizes.bound(expr))
    user = "true" if expr.name == "user_bytes" else "false"
    size = w.temp(
        f"read_bytes(c, {room}, sizeof({room}), {address}, {count}, {user}, {number(expr.pos)})"
    )
    w.check()
    return f"{room}, {size}"
