"""``try`` and ``catch``."""

from __future__ import annotations

from pystap.backend.bpf import emit, layout
from pystap.backend.bpf.errors import error_text
from pystap.backend.bpf.scope import Scope, runtime_scope
from pystap.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pystap.backend.bpf.unit import Unit
    from pystap.backend.llvm.builder import FunctionBuilder
    from pystap.ir import ops
    from pystap.ir.types import LocalVar


def emit_try(s: Scope, e: ops.Try) -> None:
    """Emit the body with its errors led to the handler."""
    b = s.b
    outer = s.exits["error"]
    caught = s.new_exit("error")
    emit.statements(s, e.body)
    s.exits["error"] = outer
    after = b.new_label("a")
    live = b.live
    b.jump(after)
    if caught.used:
        b.place(caught.label)
        s.leave_if(s.header(layout.ERROR).slt(0), "error")
        if e.var is not None:
            take_message(s, e.var)
        s.set_header(layout.ERROR, 0)
        emit.statements(s, e.handler)
        live = live or b.live
        b.jump(after)
    b.place(after, live)


def take_message(s: Scope, var: LocalVar) -> None:
    """Store the message of the pending error in a local."""
    from pystap.backend.bpf.statements import local_room
    from pystap.backend.bpf.strings import Text, copy

    u, b = s.u, s.b
    # Which messages there are is known at the end only.
    name = u.late_function("error_message", ["index"], lambda fb: _emit_messages(u, fb))
    b.call(name, s.header(layout.INDEX))
    copy(s, Text(error_text(s), u.limits.maxstringlen, u.max_string), local_room(s, var))


def _emit_messages(unit: Unit, b: FunctionBuilder) -> None:
    """Write the message of the pending error to the error area, if it is not there already."""
    from pystap.backend.bpf.format import format_message

    s = runtime_scope(unit, b, b.args[0])
    with b.switch(s.header(layout.ERROR)) as sw:
        for number, text in enumerate(unit.messages):
            with sw.case(number + 1):
                format_message(s, text)
    b.ret(0)
