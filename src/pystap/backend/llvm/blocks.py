"""Structured control flow of the builder: the context managers behind ``with b.if_(...)``.

A builder is *live* where control can arrive.  After a terminator it goes on into a fresh block
nobody jumps to, so no emission has to test for it; LLVM drops those blocks.
"""

from __future__ import annotations

from pystap.backend.llvm.values import BuildError, Value, constant
from pystap.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pystap.backend.llvm.builder import FunctionBuilder


class If:
    """``with b.if_(cond):``"""

    __slots__ = ("_cond", "_end", "_live", "b")

    def __init__(self, b: FunctionBuilder, cond: Value) -> None:
        self.b = b
        self._cond = cond

    def __enter__(self) -> None:
        b = self.b
        then, self._end = b.new_label("t"), b.new_label("e")
        self._live = b.live
        b.branch_if(self._cond, then, self._end)
        b.place(then, self._live)

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.b.jump(self._end)
            self.b.place(self._end, self._live)


class Arm:
    """One side of an ``if_else``; to be entered once."""

    __slots__ = ("_end", "_label", "_live", "b", "entered", "live_at_end")

    def __init__(self, b: FunctionBuilder, label: str, end: str, live: bool) -> None:
        self.b = b
        self._label = label
        self._end = end
        self._live = live
        self.entered = False
        self.live_at_end = False

    def __enter__(self) -> None:
        if self.entered:
            raise BuildError("an arm of if_else entered twice")
        self.entered = True
        self.b.place(self._label, self._live)

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.live_at_end = self.b.live
            self.b.jump(self._end)


class IfElse:
    """``with b.if_else(cond) as (then, orelse):``"""

    __slots__ = ("_arms", "_cond", "_end", "b")

    def __init__(self, b: FunctionBuilder, cond: Value) -> None:
        self.b = b
        self._cond = cond

    def __enter__(self) -> tuple[Arm, Arm]:
        b = self.b
        then, orelse, self._end = b.new_label("t"), b.new_label("f"), b.new_label("e")
        live = b.live
        b.branch_if(self._cond, then, orelse)
        self._arms = (Arm(b, then, self._end, live), Arm(b, orelse, self._end, live))
        return self._arms

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            return
        if not all(arm.entered for arm in self._arms):
            raise BuildError("if_else needs both arms")
        self.b.place(self._end, any(arm.live_at_end for arm in self._arms))


class Loop:
    """``with b.loop():`` - repeats until ``break_`` or ``ret``; ``while_`` adds a test on top."""

    __slots__ = ("_body", "_head", "b", "end", "end_live", "next")

    def __init__(self, b: FunctionBuilder) -> None:
        self.b = b
        self._head = b.new_label("h")
        self._body = b.new_label("b")
        self.end = b.new_label("x")
        self.next = self._head  # where continue_ goes
        self.end_live = False

    def __enter__(self) -> object:
        b = self.b
        live = b.live
        b.jump(self._head)
        b.place(self._head, live)
        self.test()
        b.loops.append(self)
        return None

    def test(self) -> None:
        """Emit what decides about another round; the plain loop has nothing to decide."""

    def step(self) -> None:
        """Emit what comes between two rounds."""

    def branch(self, cond: Value) -> None:
        """Go on into the body while ``cond``, else leave the loop."""
        b = self.b
        live = b.live
        self.end_live = live
        b.branch_if(cond, self._body, self.end)
        b.place(self._body, live)

    def __exit__(self, kind: object, *_: object) -> None:
        b = self.b
        b.loops.pop()
        if kind is not None:
            return
        if self.next != self._head:
            b.jump(self.next)
            b.place(self.next, b.live)
            self.step()
        b.jump(self._head)
        b.place(self.end, self.end_live)


class Switch:
    """``with b.switch(value) as sw:`` then ``with sw.case(1, 2):`` and ``with sw.default():``.

    Cases do not fall through; a missing default does nothing.
    """

    __slots__ = ("_at", "_cases", "_default", "_end", "_live", "_value", "arms", "b")

    def __init__(self, b: FunctionBuilder, value: Value) -> None:
        self.b = b
        self._value = value
        self._cases: list[tuple[int, str]] = []
        self._default: str | None = None
        self.arms: list[Arm] = []

    def __enter__(self) -> Switch:
        b = self.b
        self._end = b.new_label("e")
        self._live = b.live
        self._at = len(b.out)
        b.out.append("")  # the instruction itself, when the cases are known
        b.live = False
        return self

    def _arm(self, label: str) -> Arm:
        arm = Arm(self.b, label, self._end, self._live)
        self.arms.append(arm)
        return arm

    def case(self, *numbers: int) -> Arm:
        """The arm taken for any of the numbers."""
        label = self.b.new_label("c")
        self._cases += [(number, label) for number in numbers]
        return self._arm(label)

    def default(self) -> Arm:
        """The arm taken for all other values."""
        if self._default is not None:
            raise BuildError("switch has two defaults")
        self._default = self.b.new_label("d")
        return self._arm(self._default)

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            return
        ty = self._value.ty
        if not all(arm.entered for arm in self.arms):
            raise BuildError("an arm of switch was not entered")
        cases = " ".join(f"{ty} {constant(n, ty)}, label %{label}" for n, label in self._cases)
        other = self._default or self._end
        self.b.out[self._at] = f"switch {ty} {self._value.text}, label %{other} [{cases}]"
        live = any(arm.live_at_end for arm in self.arms)
        self.b.place(self._end, live or (self._live and self._default is None))
