"""Counting and conditional loops on top of :class:`pystap.backend.llvm.blocks.Loop`."""

from __future__ import annotations

from collections.abc import Callable

from pystap.backend.llvm.blocks import Loop
from pystap.backend.llvm.values import Operand, Value
from pystap.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pystap.backend.llvm.builder import FunctionBuilder


class While(Loop):
    """``with b.while_(lambda: cond):`` - the condition is evaluated before every round."""

    __slots__ = ("_cond",)

    def __init__(self, b: FunctionBuilder, cond: Callable[[], Value]) -> None:
        super().__init__(b)
        self._cond = cond

    def test(self) -> None:
        self.branch(self._cond())


class ForRange(Loop):
    """``with b.for_range(start, stop, step) as i:`` - unsigned, ``i`` is of type ``i64``."""

    __slots__ = ("_now", "_step", "_stop", "_var")

    def __init__(self, b: FunctionBuilder, start: Operand, stop: Operand, step: int) -> None:
        super().__init__(b)
        self.next = b.new_label("n")
        self._var = b.var("i64", start)
        self._stop = stop
        self._step = step

    def test(self) -> None:
        self._now = self._var.get()
        self.branch(self._now.ult(self._stop))

    def __enter__(self) -> Value:
        super().__enter__()
        return self._now

    def step(self) -> None:
        self._var.set(self._now + self._step)
