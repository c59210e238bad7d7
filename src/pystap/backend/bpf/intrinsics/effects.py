"""Operations with an effect outside of the script's variables."""

from __future__ import annotations

from pystap.backend.bpf import emit, helpers, layout, output, strings
from pystap.backend.bpf.artifact import CONTROL_STATE, STATE_ERROR, STATE_STOPPING
from pystap.backend.bpf.errors import error_text, raise_text, raise_uncatchable
from pystap.backend.bpf.intrinsics import long
from pystap.backend.bpf.layout import string_item_size
from pystap.backend.bpf.strings import Room
from pystap.output.formats import ITEM_SYSTEM, ITEM_WARN
from pystap.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pystap.backend.bpf.scope import Scope
    from pystap.backend.llvm.builder import Value
    from pystap.ir import ops


@long("error")
def _error(s: Scope, e: ops.Intrinsic) -> Value:
    text = strings.reference(s, e.args[0])
    strings.copy(s, text, Room(error_text(s), s.u.max_string, s.u.limits.maxstringlen))
    raise_text(s, e.pos)
    return s.b.const("i64", 0)


@long("warn", "system")
def _text_item(s: Scope, e: ops.Intrinsic) -> Value:
    text = strings.reference(s, e.args[0])
    item = output.begin_item(s, 8 + string_item_size(text.bound))
    end = output.append_string(s, item, s.b.const("i64", 8), text.ptr, text.bound)
    output.end_item(s, ITEM_WARN if e.name == "warn" else ITEM_SYSTEM, item, end)
    s.set_header(layout.WAKE, 1)
    return s.b.const("i64", 0)


@long("exit")
def _exit(s: Scope, _e: ops.Intrinsic) -> Value:
    b = s.b
    state = s.control(CONTROL_STATE)
    with b.if_(b.load("i64", state, volatile=True).ne(STATE_ERROR)):
        b.store(STATE_STOPPING, state, volatile=True)
    output.exit_item(s)
    return b.const("i64", 0)


@long("abort")
def _abort(s: Scope, e: ops.Intrinsic) -> Value:
    _exit(s, e)
    raise_uncatchable(s, layout.ERROR_ABORT)
    return s.b.const("i64", 0)


@long("random")
def _random(s: Scope, _e: ops.Intrinsic) -> Value:
    return s.b.helper(helpers.GET_PRANDOM_U32, "i64") & 0xFFFF_FFFF


@long("raise_signal")
def _raise_signal(s: Scope, e: ops.Intrinsic) -> Value:
    return s.b.helper(helpers.SEND_SIGNAL_THREAD, "i64", emit.long(s, e.args[0]))
