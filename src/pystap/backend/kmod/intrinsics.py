"""Intrinsics as calls of the C runtime."""

from __future__ import annotations

from pystap.backend.kmod import tables
from pystap.backend.kmod.attach_kernel import counter_index
from pystap.backend.kmod.writer import number
from pystap.ir import ops
from pystap.ir.intrinsics import INTRINSICS
from pystap.ir.types import Ty
from pystap.typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pystap.backend.kmod.writer import Writer

# {0}, {1} ... are the arguments, {pos} the position, {to} and {size} where a string goes.
_LONGS: Final = {
    "pid": "stap_here_pid(c)",
    "tid": "stap_here_tid(c)",
    "uid": "stap_here_uid()",
    "gid": "stap_here_gid()",
    "cpu": "(s64)stap_this_cpu()",
    "task_current": "stap_here_address(c)",
    "cgroup_id": "stap_here_cgroup()",
    "is_return": "(s64)stap_script->probes[c->probe].is_return",
    "user_mode": "stap_event_user_mode(c)",
    "addr": "stap_event_address(c)",
    "uaddr": "stap_here_user_address()",
    "returnval": "c->event->result",
    "funcarg": "stap_event_argument(c, {0})",
    "reg": "stap_event_register(c, {0})",
    "stack_frame": "stap_stack_frame(c, {0})",
    "kernel_place": "stap_symbol_address(c, &{prefix}symbols[{index}], {pos})",
    "verdict": "(c->event->verdict ? *c->event->verdict : 1)",
    "set_verdict": "stap_set_verdict(c, {0})",
    "target": "stap_session_target()",
    "in_target": "stap_here_in_target(c)",
    "stp_pid": "stap_session_pid()",
    "ktime_get_ns": "stap_clock_monotonic()",
    "ktime_get_boot_ns": "stap_clock_boot()",
    "gettimeofday_ns": "stap_clock_real()",
    "get_cycles": "stap_clock_cycles()",
    "jiffies": "stap_clock_jiffies()",
    "hz": "stap_clock_hz()",
    "page_size": "(s64)4096",
    "maxstringlen": "(s64)MAXSTRINGLEN",
    "tz_gmtoff": "stap_session_west()",
    "kernel_read_or": "stap_read_or({0}, {1}, {2}, false)",
    "user_read_or": "stap_read_or({0}, {1}, {2}, true)",
    "strlen": "(s64)strlen({0})",
    "stringat": "stap_stringat(c, {0}, {1}, {pos})",
    "isinstr": "(s64)(strstr({0}, {1}) != NULL)",
    "strpos": "stap_strpos({0}, {1})",
    "isdigit": "(s64)(*{0} >= '0' && *{0} <= '9')",
    "strtol": "stap_text_number({0}, {1})",
    "field_size": "stap_field_size(c, {0}, {1}, {pos})",
    "ngroups": "stap_ngroups(c, {pos})",
    "random": "stap_random_bits()",
    "raise_signal": "stap_raise_signal({0})",
    "error": "stap_fault(c, {pos}, {0})",
    "warn": "stap_warn({0})",
    "exit": "stap_session_exit()",
    "abort": "stap_session_abort(c)",
    "system": "stap_system_command({0})",
    "user_frames": "stap_user_frames(c)",
    "user_frames_from": "stap_user_frames_from(c, {0}, {1}, {2})",
    "user_frame": "stap_user_frame(c, {0})",
    "user_place": "stap_user_place(c, {0}, {1})",
    "user_number": "(s64)(uintptr_t)c->user_place.{word}",
    "user_inlined": "stap_user_inlined(c)",
    "perf_counter": "stap_counter_value({index})",
    "user_write": "stap_memory_store(c, {0}, {1}, {2}, true, {pos})",
}
_TEXTS: Final = {
    "execname": "stap_here_name({to})",
    "kernel_symbol": "stap_kernel_symbol({to}, {size}, {0})",
    "kernel_symbol_data": "stap_kernel_symbol_data({to}, {size}, {0})",
    "syscall_name": "stap_syscall_name(&{prefix}syscalls, {to}, {size}, {0})",
    "syscall_argstr": "stap_syscall_argstr(c, &{prefix}syscalls, {to}, {size}, {0}, "
    "(const u64[]){{ {1}, {2}, {3}, {4}, {5}, {6} }})",
    "syscall_retstr": "stap_syscall_retstr(&{prefix}syscalls, {to}, {size}, {0}, {1})",
    "file_text": "stap_file_text(c, {to}, {size})",
    "file_set": "stap_file_put(c, {to}, {size}, {0}, false)",
    "file_append": "stap_file_put(c, {to}, {size}, {0}, true)",
    "module_name": "stap_copy_string({to}, MODULE_NAME_TEXT, {size})",
    "pp": "stap_copy_string({to}, stap_script->probes[c->probe].point, {size})",
    "pn": "stap_copy_string({to}, stap_script->probes[c->probe].name, {size})",
    "ppfunc": "stap_copy_string({to}, stap_script->probes[c->probe].function, {size})",
    "probe_kind": "stap_copy_string({to}, stap_script->probes[c->probe].kind, {size})",
    "tz_name": "stap_copy_string({to}, stap_session_zone(), {size})",
    "kernel_string": "stap_read_text(c, {to}, {size}, {0}, {1}, false, {pos})",
    "user_string": "stap_read_text(c, {to}, {size}, {0}, {1}, true, {pos})",
    "kernel_string_or": "stap_read_text_or({to}, {size}, {0}, {1}, {2}, false)",
    "user_string_or": "stap_read_text_or({to}, {size}, {0}, {1}, {2}, true)",
    "kernel_string_quoted": "stap_read_quoted(c, {to}, {size}, {0}, {1}, {2}, false)",
    "user_string_quoted": "stap_read_quoted(c, {to}, {size}, {0}, {1}, {2}, true)",
    "kernel_buffer_quoted": "stap_read_buffer_quoted(c, {to}, {size}, {0}, {1}, {2}, false)",
    "user_buffer_quoted": "stap_read_buffer_quoted(c, {to}, {size}, {0}, {1}, {2}, true)",
    "substr": "stap_substr({to}, {size}, {0}, {1}, {2})",
    "str_replace": "stap_str_replace({to}, {size}, {0}, {1}, {2})",
    "tokenize": "stap_tokenize(c, {to}, {size}, {0}, {1})",
    "tokenize_next": "stap_tokenize_next(c, {to}, {size}, {0})",
    "text_str": "stap_text_plain({to}, {size}, {0}, 0)",
    "text_strn": "stap_text_strn({to}, {size}, {0}, {1}, {2})",
    "byte_str": "stap_byte_str({to}, {0})",
    "user_text": "stap_user_text({to}, {size}, c->user_place.{word})",
    "matched": "stap_matched(c, {to}, {size}, {0}, {pos})",
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
    call = _LONGS[expr.name].format(*args, **_names(w, expr), index=_index(w, expr))
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
    w.line(_TEXTS[expr.name].format(*args, **_names(w, expr), to=to, size=size) + ";")
    if INTRINSICS[expr.name].fallible:
        w.check()


def _names(w: Writer, expr: ops.Intrinsic) -> dict[str, object]:
    """What the C text of every call may ask for."""
    return {"pos": expr.pos, "word": _word(expr), "prefix": w.unit.prefix}


def _index(w: Writer, expr: ops.Intrinsic) -> int:
    """Where in a table of the script what is asked for is."""
    match expr.name:
        case "perf_counter":
            return counter_index(w.unit.module, _word(expr))
        case "kernel_place":
            return w.unit.symbol(expr.const)
    return 0


def _word(expr: ops.Intrinsic) -> str:
    """What is asked for by name."""
    return str(expr.const[0]) if expr.const else ""


def memory_dump(w: Writer, expr: ops.Intrinsic) -> str:
    """Bytes of memory for %m and %M: address and number of them, as two C arguments."""
    from pystap.backend.kmod.expressions import values_of

    address, count = values_of(w, expr.args)
    room = w.string(w.unit.sizes.bound(expr))
    user = "true" if expr.name == "user_bytes" else "false"
    size = w.temp(
        f"stap_read_bytes(c, {room}, sizeof({room}), {address}, {count}, {user}, "
        f"{number(expr.pos)})"
    )
    w.check()
    return f"{room}, {size}"
