"""Loops: every one is a bpf_loop whose callback is the body.

The callback gets the address of a stack slot with the context's address, and nothing else: all
state is in the context, because a verifier that looks at a callback once takes constants in the
caller's stack for unchanging.
"""

from __future__ import annotations

from collections.abc import Callable

from pystap.backend.bpf import emit, helpers, layout
from pystap.backend.bpf.errors import pending, raise_error
from pystap.backend.bpf.expressions import condition
from pystap.backend.bpf.scope import Exit, Leaving, Scope, begin_block
from pystap.ir import errors, ops
from pystap.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pystap.backend.llvm.builder import FunctionBuilder, Operand, Value

_STOP, _GO_ON = 1, 0


@emit.emits_statement(ops.Loop)
def _loop(s: Scope, e: ops.Loop) -> None:
    def body(inner: Scope, _index: Value) -> None:
        test = condition(inner, e.cond)
        inner.leave_if(test ^ 1, "break")
        step = inner.new_exit("continue")
        emit.statements(inner, e.body)
        if step.used or inner.b.live:
            live = inner.b.live
            inner.b.jump(step.label)
            inner.b.place(step.label, live or step.used)
            emit.statements(inner, e.step)

    rounds = run_loop(s, helpers.MAX_LOOPS, body)
    if s.body.counts_actions:
        return
    # Nothing counts the rounds, and the kernel allows no more.
    with s.b.if_(rounds.uge(helpers.MAX_LOOPS)):
        raise_error(s, errors.MAXACTION_EXCEEDED, -1)


def run_loop(
    s: Scope, rounds: Operand, body: Callable[[Scope, Value], None], what: str = "loop"
) -> Value:
    """Repeat what ``body(scope, index)`` emits up to ``rounds`` times; how many rounds began.

    In the body ``break`` ends the loop and ``continue`` the round; errors, ``return`` and
    ``next`` leave the statement the loop is, too.
    """
    b = s.b
    name, used = callback(s, what, [("i64", "index"), ("ptr", "state")], 1, body)
    began = b.var("i64", 0)
    count = b.const("i64", rounds) if isinstance(rounds, int) else rounds
    # A verifier that knows there is no round never looks at the callback and removes it, though
    # not the call (seen in 6.18: "No program to jit"): so the call must be dead, too.
    with b.if_(count.ne(0)):
        began.set(b.helper(helpers.LOOP, "i64", count, b.symbol(name), s.state(), 0))
    after_callback(s, used)
    return began.get()


def callback(
    s: Scope,
    what: str,
    params: list[tuple[str, str]],
    state: int,
    body: Callable[..., None],
) -> tuple[str, set[Leaving]]:
    """Emit a callback function; its name, and the ways of leaving to be passed on after it.

    Parameter ``state`` is the address of the slot with the context's address; the others are
    given to ``body``.
    """
    name = s.u.fresh(what)
    with s.u.m.function(name, "i64", params, linkage="internal", attrs=["noinline"]) as b:
        context = b.load("ptr", b.args[state])
        inner = Scope(s.u, s.body, b, context, s.level)
        outward: dict[Leaving, Exit] = {}
        for kind in ("error", "return", "next"):
            if kind in s.exits:
                outward[kind] = inner.new_exit(kind)
        leave, go_on = inner.new_exit("break"), inner.new_exit("continue")
        body(inner, *(arg for i, arg in enumerate(b.args) if i != state))
        inner.exits = {**outward, "break": leave, "continue": go_on}
        b.jump(go_on.label)
        b.place(go_on.label)
        b.ret(_answer(b, _GO_ON))
        for kind, exit_ in outward.items():
            if exit_.used:
                begin_block(b, exit_.label)
                if kind != "error":
                    unwind = layout.UNWIND_RETURN if kind == "return" else layout.UNWIND_NEXT
                    inner.set_header(layout.UNWIND, unwind)
                b.terminate(f"br label %{leave.label}")
        begin_block(b, leave.label)
        b.ret(_answer(b, _STOP))
    return name, {kind for kind, exit_ in outward.items() if exit_.used}


def _answer(b: FunctionBuilder, number: int) -> Value:
    """What a callback returns: a constant that the verifier knows to be one.

    It goes through memory that LLVM may not look into.  Otherwise code generation takes the
    number a switch has just compared for it, of which the verifier knows 32 bits.
    """
    place = b.alloca("i64")
    b.store(b.const("i64", number), place, volatile=True)
    return b.load("i64", place, volatile=True)


def after_callback(s: Scope, used: set[Leaving]) -> None:
    """Go on leaving after a helper whose callback asked for it."""
    if "error" in used:
        s.leave_if(pending(s), "error")
    kinds: tuple[tuple[Leaving, int], ...] = (
        ("return", layout.UNWIND_RETURN),
        ("next", layout.UNWIND_NEXT),
    )
    for kind, number in kinds:
        if kind in used:
            with s.b.if_(s.header(layout.UNWIND).eq(number)):
                s.set_header(layout.UNWIND, 0)
                s.leave(kind)
