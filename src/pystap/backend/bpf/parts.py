"""Long lists of statements become several functions.

LLVM takes more than twice the time for twice the code, a branch of BPF reaches 32,767
instructions, and what waits in one part is not on the stack of another.
"""

from __future__ import annotations

from pystap.backend.bpf import emit, layout
from pystap.backend.bpf.scope import Leaving, Scope, begin_block, find_context
from pystap.typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pystap.backend.llvm.builder import FunctionBuilder
    from pystap.ir.ops import Stmt

PART: Final = 150  # statements, those that only count others included
_APART: Final = 2000
_CODES: Final[dict[Leaving, int]] = {
    "error": 1, "return": 2, "next": 3, "break": 4, "continue": 5,
}  # fmt: skip


def emit_parts(s: Scope, body: list[Stmt]) -> None:
    """Emit statements in parts, each a function of its own."""
    apart = len(body) > _APART
    for start in range(0, len(body), PART):
        if not s.b.live:
            return
        _emit_part(s, body[start : start + PART], apart=apart)


def _emit_part(s: Scope, body: list[Stmt], *, apart: bool) -> None:
    """Emit a function with statements, and its call; its result tells how they were left.

    The verifier looks at functions that are ``apart`` one by one: it keeps note of all branches
    it has not followed yet, of which there may be 8192.
    """
    u = s.u
    name = u.fresh("part")
    used: list[Leaving] = []

    def make(b: FunctionBuilder) -> None:
        context = find_context(u, b, b.args[0]) if apart else b.args[0]
        inner = Scope(u, s.body, b, context, s.level)
        exits = {kind: inner.new_exit(kind) for kind in s.exits}
        emit.statements(inner, body)
        b.ret(0)
        used.extend(kind for kind, exit_ in exits.items() if exit_.used)
        for kind in used:
            begin_block(b, exits[kind].label)
            b.ret(_CODES[kind])

    if apart:
        result = s.b.call(u.function(name, ["index"], make), s.header(layout.INDEX))
    else:
        u.subroutine(name, [("ptr", "context")], make)
        result = s.b.call(name, s.need_context())
    for kind in used:
        s.leave_if(result.eq(_CODES[kind]), kind)
