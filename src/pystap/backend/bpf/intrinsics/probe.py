"""The probe that fired, and the session it belongs to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pystap.backend.bpf.artifact import CONTROL_STP_PID, CONTROL_TARGET
from pystap.backend.bpf.context_values import captured
from pystap.backend.bpf.intrinsics import long

if TYPE_CHECKING:
    from pystap.backend.bpf.scope import Scope
    from pystap.backend.llvm.builder import Value
    from pystap.ir import ops


@long("target")
def _target(s: Scope, _e: ops.Intrinsic) -> Value:
    return s.b.load("i64", s.control(CONTROL_TARGET))


@long("stp_pid")
def _stp_pid(s: Scope, _e: ops.Intrinsic) -> Value:
    return s.b.load("i64", s.control(CONTROL_STP_PID))


@long("addr")
def _addr(s: Scope, _e: ops.Intrinsic) -> Value:
    return captured(s, "ip")


@long("user_mode")
def _user_mode(s: Scope, _e: ops.Intrinsic) -> Value:
    return captured(s, "user_mode").ne(0).zext("i64")


@long("returnval")
def _returnval(s: Scope, _e: ops.Intrinsic) -> Value:
    return captured(s, "retval")
