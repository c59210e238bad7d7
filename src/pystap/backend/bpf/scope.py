"""The state of emitting one LLVM function that holds (a part of) a handler or function body."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pystap.backend.bpf import helpers, layout
from pystap.backend.bpf.unit import area
from pystap.ir.types import Ty
from pystap.typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pystap.backend.bpf.layout import Frame
    from pystap.backend.bpf.unit import Unit
    from pystap.backend.llvm.builder import FunctionBuilder, Operand, Value
    from pystap.ir.types import LocalVar

Leaving = Literal["error", "return", "next", "break", "continue"]


class NeedsContext(Exception):  # noqa: N818 - not an error: the handler is emitted again
    """What is emitted needs the context, and the handler was tried without one."""


def begin_block(b: FunctionBuilder, label: str) -> None:
    """Begin a block that is only branched to, behind a terminator."""
    b.out.append("unreachable")
    b.place(label)


class Exit:
    """Where control goes that leaves the present statements in some way."""

    __slots__ = ("label", "used")

    def __init__(self, label: str) -> None:
        self.label = label
        self.used = False


class Body:
    """A handler or function: its frame and where its locals are; shared by its loop bodies."""

    __slots__ = ("counts_actions", "frame", "places", "result", "result_bound")

    def __init__(self, frame: Frame, counts_actions: bool) -> None:
        self.frame = frame
        self.places: dict[int, int] = {}  # id of a LocalVar: offset in the frame
        self.result = -1  # slot of the function's result
        self.result_bound = 0  # of a string
        self.counts_actions = counts_actions

    def locate(self, b: FunctionBuilder, context: Value) -> Value:
        """Emit the address of the frame."""
        return area(b, context, self.frame.token)

    def place(self, var: LocalVar, max_string: int) -> int:
        """Offset of a local."""
        found = self.places.get(id(var))
        if found is None:
            size = min(var.bound or max_string, max_string) if var.ty.value == "string" else 8
            found = self.places[id(var)] = self.frame.allocate(size)
        return found


class Scope:
    """Emits into one LLVM function.

    ``context`` is the address of the context, None in a handler that is tried without one;
    ``light`` is then what to do about a run-time error (see :mod:`errors`).
    """

    __slots__ = (
        "_frame", "b", "body", "captured", "context", "emitted", "exits", "held", "level",
        "probe", "u", "weight",
    )  # fmt: skip

    def __init__(
        self, unit: Unit, body: Body, b: FunctionBuilder, context: Value | None, level: int = -1
    ) -> None:
        self.u = unit
        self.b = b
        self.body = body
        self.context = context
        self.level = level
        self.exits: dict[Leaving, Exit] = {}
        self.probe: Value | None = None  # the probe that fired, where it is at hand
        self.held = 0  # values that wait in registers while others are emitted, see emit.pair
        self.weight = 1  # of the value emitted last, see emit.pair
        self.captured: dict[tuple[str, int], Value] = {}  # values of the event, without context
        self.emitted = False  # whether a handler without context has its one item
        self._frame: Value | None = None
        if context is not None:
            self._frame = body.locate(b, context)

    # ---- memory

    def need_context(self) -> Value:
        """Address of the context; ends an attempt to do without."""
        if self.context is None:
            raise NeedsContext
        return self.context

    def slot(self, offset: int) -> Value:
        """Address of a slot of the frame, for loads and stores."""
        self.need_context()
        assert self._frame is not None
        return self.b.at(self._frame, offset)

    def address(self, offset: int) -> Value:
        """Address of a slot of the frame, to be passed on.

        LLVM must not keep it for later uses of the same slot: that takes more stack than it
        saves instructions.
        """
        self.need_context()
        assert self._frame is not None
        return self.b.at(self.b.barrier(self._frame), offset)

    def temporary(self, size: int) -> Value:
        """Memory of ``size`` bytes until the end of the statement; content undefined."""
        if self.context is None:
            if size > 64:
                raise NeedsContext
            return self.b.alloca(f"[{layout.round_up(size)} x i8]", align=8)
        return self.address(self.body.frame.allocate(size))

    def word(self) -> Value:
        """One word on the stack for what is read from it at once; always the same."""
        return self._on_stack("i64")

    def state(self) -> Value:
        """The address of the context in a stack slot, for callbacks."""
        slot = self._on_stack("ptr")
        self.b.store(self.need_context(), slot)
        return slot

    def _on_stack(self, ty: str) -> Value:
        key = (self.b.name, ty)
        found = self.u.stack_slots.get(key)
        if found is None:
            found = self.u.stack_slots[key] = self.b.alloca(ty)
        return found

    @contextmanager
    def temporaries(self) -> Iterator[None]:
        """Temporary memory taken inside is free again afterwards."""
        top = self.body.frame.top
        yield
        self.body.frame.top = top

    def local(self, var: LocalVar) -> Value:
        """Address of a local."""
        offset = self.body.place(var, self.u.max_string)
        return self.slot(offset) if var.ty is Ty.LONG else self.address(offset)

    def header(self, offset: int, *, volatile: bool = False) -> Value:
        """A word of the context's header."""
        return self.b.load("i64", self.need_context(), offset, volatile=volatile)

    def set_header(self, offset: int, value: Operand) -> None:
        """Change a word of the context's header."""
        self.b.store(value, self.need_context(), offset)

    def forget(self, value: Value) -> Value:
        """The same number, about which the verifier no longer knows anything.

        What it knows differs from path to path, and it goes on separately for each.
        """
        self.set_header(layout.FORGET, value)
        return self.header(layout.FORGET, volatile=True)

    def release_store(self, where: Value) -> None:
        """Set a word that guards memory to 0 when everything before is done.

        x86-64 orders stores; elsewhere it takes an exchange.
        """
        if self.u.facts.ordered_stores:
            self.b.store(0, where, volatile=True)
        else:
            self.b.atomic_rmw("xchg", where, 0)

    def area(self, name: str, size: int) -> Value:
        """Address of an area of the context."""
        context = self.need_context()
        return area(self.b, self.b.barrier(context), self.u.area(name, size))

    def control(self, word: int) -> Value:
        """Address of a word of the control map."""
        from pystap.backend.bpf.unit import control_word

        return control_word(self.b, self.u, word)

    # ---- leaving

    def exit_to(self, kind: Leaving) -> str:
        """Label that leaves in a way, for a branch."""
        target = self.exits[kind]
        target.used = True
        return target.label

    def leave(self, kind: Leaving) -> None:
        """Leave the present statements."""
        self.b.terminate(f"br label %{self.exit_to(kind)}")

    def leave_if(self, cond: Value, kind: Leaving) -> None:
        """Leave when an ``i1`` is set."""
        b = self.b
        stay, live = b.new_label("s"), b.live
        b.branch_if(cond, self.exit_to(kind), stay)
        b.place(stay, live)

    def new_exit(self, kind: Leaving) -> Exit:
        """Install a fresh target; the caller restores the old one and places the label."""
        fresh = self.exits[kind] = Exit(self.b.new_label(kind[0]))
        return fresh

    @contextmanager
    def cleanup(self, undo: object) -> Iterator[None]:
        """Whatever way the statements inside are left, call ``undo()`` to emit code before."""
        assert callable(undo)
        outer = dict(self.exits)
        inner = {kind: self.new_exit(kind) for kind in outer}
        yield
        self.exits = outer
        b = self.b
        if b.live:
            undo()
        after, live = b.new_label("a"), b.live
        b.jump(after)
        for kind, exit_ in inner.items():
            if exit_.used:
                b.place(exit_.label)
                undo()
                b.jump(self.exit_to(kind))
        b.place(after, live)


def find_context(unit: Unit, b: FunctionBuilder, index: Value) -> Value:
    """Emit the look-up of a context by its index; the function ends when there is none."""
    key = b.alloca("i32")
    b.store(index.trunc("i32"), key)
    context = b.helper(helpers.MAP_LOOKUP, "ptr", b.map_fd(unit.context_map()), key)
    with b.if_(context.eq(0)):
        b.ret(0)
    return context


def runtime_scope(unit: Unit, b: FunctionBuilder, index: Value) -> Scope:
    """The scope of a run-time function that works in the context ``index``.

    Its temporaries are on a frame of its own.
    """
    frame = unit.own_frame(b.name)
    return Scope(unit, Body(frame, False), b, find_context(unit, b, index))
