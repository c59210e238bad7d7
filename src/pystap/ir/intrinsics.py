"""The operations every runtime implements natively, as one table.

A tapset function whose body is ``%{ pystap:NAME [literal ...] %}`` is the intrinsic NAME applied
to its parameters (literals become ``Intrinsic.const``).  Whatever can be said in the script
language (``@cast``, arithmetic, strings) is written there instead.
"""

from __future__ import annotations

from pystap.ir.types import Ty
from pystap.typing import Final, NamedTuple

_L, _S, _V = Ty.LONG, Ty.STR, Ty.VOID


class IntrinsicInfo(NamedTuple):
    """Signature and properties.

    ``pure``: unused results may be dropped.  ``fallible``: may raise a run-time error.
    ``bound``: most bytes of a string result with NUL, 0 when MAXSTRINGLEN.
    ``needs``: what the probe's context must offer: "" nothing, "task" a current task,
    "regs" registers, "user" user-space memory of the current task.
    ``guru``: scripts may use it with -g only.
    """

    args: tuple[Ty, ...]
    result: Ty
    pure: bool = True
    fallible: bool = False
    bound: int = 0
    needs: str = ""
    consts: int = 0
    guru: bool = False


INTRINSICS: Final[dict[str, IntrinsicInfo]] = {
    # current task
    "pid": IntrinsicInfo((), _L),
    "tid": IntrinsicInfo((), _L),
    "uid": IntrinsicInfo((), _L),
    "gid": IntrinsicInfo((), _L),
    "execname": IntrinsicInfo((), _S, bound=16),
    "cpu": IntrinsicInfo((), _L),
    "task_current": IntrinsicInfo((), _L),
    "cgroup_id": IntrinsicInfo((), _L),
    # the probe that fired
    "pp": IntrinsicInfo((), _S),
    "pn": IntrinsicInfo((), _S),
    "ppfunc": IntrinsicInfo((), _S),  # function part of the probe point, "" if none
    "probe_kind": IntrinsicInfo((), _S, bound=32),
    "is_return": IntrinsicInfo((), _L),
    "user_mode": IntrinsicInfo((), _L, needs="regs"),
    "addr": IntrinsicInfo((), _L, needs="regs"),
    "uaddr": IntrinsicInfo((), _L),  # user-space pc of the current task, 0 when it has none
    "returnval": IntrinsicInfo((), _L, needs="regs"),
    "funcarg": IntrinsicInfo((_L,), _L, needs="regs"),  # integer argument by calling convention
    "reg": IntrinsicInfo((_L,), _L, needs="regs"),  # register by DWARF number
    "stack_frame": IntrinsicInfo((_L,), _L),  # address in a kernel stack frame, 0 for none
    # name of the kernel function at an address, and name+offset/size; " [module]" behind
    "kernel_symbol": IntrinsicInfo((_L,), _S, bound=256),
    "kernel_symbol_data": IntrinsicInfo((_L,), _S, bound=256),
    # the user-space stack: its depth, that from a program counter, stack and frame pointer, and
    # the address in a frame (0 for none; the highest bit tells that it is none to return to)
    "user_frames": IntrinsicInfo((), _L, pure=False),
    "user_frames_from": IntrinsicInfo((_L, _L, _L), _L, pure=False),
    "user_frame": IntrinsicInfo((_L,), _L, pure=False),
    # what is known of a user-space address (how many bytes before it counts): 1 when it is mapped;
    # the following give what was found, by name; 1 and those of the next inlined function
    "user_place": IntrinsicInfo((_L, _L), _L, pure=False),
    "user_number": IntrinsicInfo((), _L, pure=False, consts=1),
    "user_text": IntrinsicInfo((), _S, pure=False, consts=1),
    "user_inlined": IntrinsicInfo((), _L, pure=False),
    "target": IntrinsicInfo((), _L),
    "in_target": IntrinsicInfo((), _L),  # current task is target() or a descendant
    "module_name": IntrinsicInfo((), _S, bound=64),
    "stp_pid": IntrinsicInfo((), _L),  # pid of the process that runs the session
    # clocks
    "ktime_get_ns": IntrinsicInfo((), _L),  # CLOCK_MONOTONIC
    "ktime_get_boot_ns": IntrinsicInfo((), _L),
    "gettimeofday_ns": IntrinsicInfo((), _L),  # CLOCK_REALTIME
    "get_cycles": IntrinsicInfo((), _L),
    "jiffies": IntrinsicInfo((), _L),
    "hz": IntrinsicInfo((), _L),
    "page_size": IntrinsicInfo((), _L),
    "maxstringlen": IntrinsicInfo((), _L),
    "tz_gmtoff": IntrinsicInfo((), _L),  # seconds west of UTC
    "tz_name": IntrinsicInfo((), _S, bound=64),
    # memory: string at an address; args are address and most bytes to take (without NUL)
    "kernel_string": IntrinsicInfo((_L, _L), _S, fallible=True),
    "user_string": IntrinsicInfo((_L, _L), _S, fallible=True, needs="user"),
    # the same with a text in place of a fault: address, most bytes, text
    "kernel_string_or": IntrinsicInfo((_L, _L, _S), _S),
    "user_string_or": IntrinsicInfo((_L, _L, _S), _S, needs="user"),
    # quoted as a C literal, cut marks "..." : address, input bytes, output bytes
    "user_string_quoted": IntrinsicInfo((_L, _L, _L), _S, needs="user"),
    "kernel_string_quoted": IntrinsicInfo((_L, _L, _L), _S),
    # the same for exactly as many bytes as asked, NULs included
    "user_buffer_quoted": IntrinsicInfo((_L, _L, _L), _S, needs="user"),
    "kernel_buffer_quoted": IntrinsicInfo((_L, _L, _L), _S),
    # raw bytes (may hold NULs) for the m and M directives: address, count
    "kernel_bytes": IntrinsicInfo((_L, _L), _S, fallible=True),
    "user_bytes": IntrinsicInfo((_L, _L), _S, fallible=True),
    # a width or precision and the least it may be; from MAX_FIELD on it raises FIELD_SIZE
    "field_size": IntrinsicInfo((_L, _L), _L, fallible=True),
    # sizes 1 2 4 8 read without a run-time error: address, size -> unsigned or default (third)
    "kernel_read_or": IntrinsicInfo((_L, _L, _L), _L),
    "user_read_or": IntrinsicInfo((_L, _L, _L), _L, needs="user"),
    "user_write": IntrinsicInfo(
        (_L, _L, _L), _V, pure=False, fallible=True, needs="user", guru=True
    ),
    # strings
    "strlen": IntrinsicInfo((_S,), _L),
    "substr": IntrinsicInfo((_S, _L, _L), _S),  # start, length
    # byte, 0 behind the end; an index below 0 or from MAXSTRINGLEN on raises STRING_INDEX
    "stringat": IntrinsicInfo((_S, _L), _L, fallible=True),
    "isinstr": IntrinsicInfo((_S, _S), _L),
    "strpos": IntrinsicInfo((_S, _S), _L),  # index of first occurrence, -1 when none
    "isdigit": IntrinsicInfo((_S,), _L),
    "str_replace": IntrinsicInfo((_S, _S, _S), _S),
    "strtol": IntrinsicInfo((_S, _L), _L),  # text, base
    "tokenize": IntrinsicInfo((_S, _S), _S, pure=False),  # keeps its state per cpu context
    "tokenize_next": IntrinsicInfo((_S,), _S, pure=False),
    # quotes, backslashes and control characters as C escapes, other non-ASCII as octal ones
    "text_str": IntrinsicInfo((_S,), _S),
    # most bytes of escaped text (0: all that fits), quoted: "..."... when cut
    "text_strn": IntrinsicInfo((_S, _L, _L), _S),
    "byte_str": IntrinsicInfo((_L,), _S, bound=2),
    "matched": IntrinsicInfo((_L,), _S, fallible=True),
    "ngroups": IntrinsicInfo((), _L, fallible=True),
    # tables shared by every runtime (pystap.ir.tables): const = (table name,)
    "table_str": IntrinsicInfo((_L,), _S, bound=64, consts=1),  # "" when absent
    "table_num": IntrinsicInfo((_S,), _L, consts=1),  # -1 when absent
    "flags_str": IntrinsicInfo((_L,), _S, consts=1),  # A|B|0x40
    # system calls (data in pystap.probes.syscalls tables)
    "syscall_name": IntrinsicInfo((_L,), _S, bound=32),
    "syscall_argstr": IntrinsicInfo((_L, _L, _L, _L, _L, _L, _L), _S, needs="user"),  # nr, 6 args
    "syscall_retstr": IntrinsicInfo((_L, _L), _S),  # nr, value
    # the text of the session's file that is being read or written: as a whole, and what it
    # becomes (the result is the argument)
    "file_text": IntrinsicInfo((), _S, pure=False),
    "file_set": IntrinsicInfo((_S,), _S, pure=False),
    "file_append": IntrinsicInfo((_S,), _S, pure=False),
    # what becomes of the packet at hand: NF_ACCEPT and its kin of <linux/netfilter.h>
    "verdict": IntrinsicInfo((), _L, pure=False),
    "set_verdict": IntrinsicInfo((_L,), _L, pure=False, fallible=True, guru=True),
    # what a security hook answers: 0, or an error number below 0, and then the kernel refuses
    "set_hook_result": IntrinsicInfo((_L,), _L, pure=False, fallible=True, guru=True),
    # what the perf counter called const counted in the current task
    # the address of a symbol of the kernel, or MODULE:SYMBOL, found when the script is loaded; and
    # which of several of the name, in the order of the module's table (-1: there is but one)
    "kernel_place": IntrinsicInfo((), _L, fallible=True, consts=2),
    "perf_counter": IntrinsicInfo((), _L, pure=False, consts=1),
    # effects
    "error": IntrinsicInfo((_S,), _V, pure=False, fallible=True),
    "warn": IntrinsicInfo((_S,), _V, pure=False),
    "exit": IntrinsicInfo((), _V, pure=False),
    "abort": IntrinsicInfo((), _V, pure=False, fallible=True),  # not catchable
    "system": IntrinsicInfo((_S,), _V, pure=False),
    "random": IntrinsicInfo((), _L, pure=False),  # 32 uniform bits
    "raise_signal": IntrinsicInfo((_L,), _L, pure=False, guru=True),
}
