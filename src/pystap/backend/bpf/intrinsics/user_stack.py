"""User-space stacks, and what is known of user-space addresses."""

from __future__ import annotations

from pystap.backend.bpf import emit, helpers, unwinding, user_objects
from pystap.backend.bpf.facts import CompileError
from pystap.backend.bpf.intrinsics import long, string
from pystap.backend.bpf.strings import Room, fill_zero
from pystap.ir import ops
from pystap.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pystap.backend.bpf.scope import Scope
    from pystap.backend.llvm.builder import Value


@long("user_frames")
def _frames(s: Scope, _e: ops.Intrinsic) -> Value:
    s.u.user_parts.add("stacks")
    return unwinding.frames(s)


@long("user_frames_from")
def _frames_from(s: Scope, e: ops.Intrinsic) -> Value:
    s.u.user_parts.add("stacks")
    pc, sp, fp = (emit.long(s, arg) for arg in e.args)
    return unwinding.frames_from(s, pc, sp, fp)


@long("user_frame")
def _frame(s: Scope, e: ops.Intrinsic) -> Value:
    return unwinding.frame(s, emit.long(s, e.args[0]))


@long("user_place")
def _place(s: Scope, e: ops.Intrinsic) -> Value:
    s.u.user_parts.add("names")
    address, back = (emit.long(s, arg) for arg in e.args)
    return user_objects.resolve(s, address, back)


@long("user_number")
def _number(s: Scope, e: ops.Intrinsic) -> Value:
    return s.b.load("i64", user_objects.result(s), _word(e))


@string("user_text")
def _text(s: Scope, e: ops.Intrinsic, room: Room) -> None:
    """A name; empty when it is not known."""
    b = s.b
    if e.const[0] in ("file", "inlined_file"):
        s.u.user_parts.add("places")
    source = b.load("i64", user_objects.result(s), _word(e))
    if room.pad:
        fill_zero(s, room.ptr, room.size)
    else:
        b.store(0, room.ptr)
    b.helper(helpers.PROBE_READ_KERNEL_STR, "i64", room.ptr, room.limit, source)


@long("user_inlined")
def _inlined(s: Scope, _e: ops.Intrinsic) -> Value:
    s.u.user_parts.add("places")
    return user_objects.next_inlined(s)


def _word(e: ops.Intrinsic) -> int:
    found = user_objects.RESULT.get(str(e.const[0]))
    if found is None:
        raise CompileError(f"there is no '{e.const[0]}' of an address")
    return found
