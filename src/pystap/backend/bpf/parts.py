"""Long lists of statements become several functions.

LLVM takes more than twice the time for twice the code, a branch of BPF reaches 32,767
instructions, and what waits in one part is not on the stack of another.
"""

from __future__ import annotations

from pystap.backend.bpf import emit
from pystap.backend.bpf.scope import Scope, begin_block
from pystap.typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pystap.backend.bpf.scope import Leaving
    from pystap.ir.ops import Stmt

PART: Final = 150  # statements, those that only count others included
_CODES: Final[dict[Leaving, int]] = {
    "error": 1, "return": 2, "next": 3, "break": 4, "continue": 5,
}  # fmt: skip


def emit_parts(s: Scope, body: list[Stmt]) -> None:
    """Emit statements in parts, each a function of its own."""
    for start in range(0, len(body), PART):
        if not s.b.live:
            return
        _emit_part(s, body[start : start + PART])


def _emit_part(s: Scope, body: list[Stmt]) -> None:
    """Emit a function with statements, and its call; its result tells how they were left."""
    name = s.u.fresh("part")
    with s.u.m.function(
        name, "i64", [("ptr", "context")], linkage="internal", attrs=["noinline"]
    ) as b:
        inner = Scope(s.u, s.body, b, b.args[0], s.level)
        exits = {kind: inner.new_exit(kind) for kind in s.exits}
        emit.statements(inner, body)
        b.ret(0)
        used = [kind for kind, exit_ in exits.items() if exit_.used]
        for kind in used:
            begin_block(b, exits[kind].label)
            b.ret(_CODES[kind])
    result = s.b.call(name, s.need_context())
    for kind in used:
        s.leave_if(result.eq(_CODES[kind]), kind)
