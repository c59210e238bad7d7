"""Clocks and constants of the machine."""

from __future__ import annotations

from pystap.backend.bpf import helpers
from pystap.backend.bpf.artifact import (
    CONTROL_CYCLES_PER_US,
    CONTROL_GMTOFF,
    CONTROL_HZ,
    CONTROL_REALTIME,
)
from pystap.backend.bpf.intrinsics import long
from pystap.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pystap.backend.bpf.scope import Scope
    from pystap.backend.llvm.builder import Value
    from pystap.ir import ops

_PAGE_SIZE = 4096


@long("ktime_get_ns")
def _monotonic(s: Scope, _e: ops.Intrinsic) -> Value:
    return s.b.helper(helpers.KTIME_GET_NS, "i64")


@long("ktime_get_boot_ns")
def _boot(s: Scope, _e: ops.Intrinsic) -> Value:
    return s.b.helper(helpers.KTIME_GET_BOOT_NS, "i64")


@long("gettimeofday_ns")
def _realtime(s: Scope, _e: ops.Intrinsic) -> Value:
    return s.b.helper(helpers.KTIME_GET_NS, "i64") + s.b.load("i64", s.control(CONTROL_REALTIME))


@long("get_cycles")
def _cycles(s: Scope, _e: ops.Intrinsic) -> Value:
    """The helpers read no cycle counter: time at the nominal rate."""
    rate = s.b.load("i64", s.control(CONTROL_CYCLES_PER_US))
    now = s.b.helper(helpers.KTIME_GET_NS, "i64")
    # In two steps, so that the product does not overflow.
    return now // 1000 * rate + now % 1000 * rate // 1000


@long("jiffies")
def _jiffies(s: Scope, _e: ops.Intrinsic) -> Value:
    return s.b.helper(helpers.JIFFIES64, "i64")


@long("hz")
def _hz(s: Scope, _e: ops.Intrinsic) -> Value:
    return s.b.load("i64", s.control(CONTROL_HZ))


@long("tz_gmtoff")
def _gmtoff(s: Scope, _e: ops.Intrinsic) -> Value:
    return s.b.load("i64", s.control(CONTROL_GMTOFF))


@long("page_size")
def _page_size(s: Scope, _e: ops.Intrinsic) -> Value:
    return s.b.const("i64", _PAGE_SIZE)


@long("maxstringlen")
def _maxstringlen(s: Scope, _e: ops.Intrinsic) -> Value:
    return s.b.const("i64", s.u.limits.maxstringlen)
