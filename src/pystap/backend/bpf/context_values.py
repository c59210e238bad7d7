"""Numbers an event brings with it: where each kind of program finds them.

A program stores the ones its handler asks for in the context before the body runs, so that
functions and loop bodies find them, too.
"""

from __future__ import annotations

from pystap.backend.bpf import emit, helpers, layout
from pystap.backend.bpf.facts import (
    X86_CS,
    X86_FUNCTION_ARGS,
    X86_FURTHER,
    X86_ORIG_AX,
    X86_PT_REGS,
    X86_SYSCALL_ARGS,
    CompileError,
)
from pystap.ir import ops
from pystap.typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from pystap.backend.bpf.analysis import Captured
    from pystap.backend.bpf.scope import Scope
    from pystap.backend.llvm.builder import FunctionBuilder, Value

ProgramKind = Literal[
    "session", "perf", "tp_btf", "sys_enter", "sys_exit", "uprobe", "uretprobe", "process",
    "kprobe", "kretprobe", "fentry", "fexit",
]  # fmt: skip

STACK: Final = ("stack", 0)  # captured as a whole, to an area of its own
USER_STACK: Final = ("user_stack", 0)  # likewise, when it is first asked for
_AREA: Final = "event"
_INSTRUCTION_POINTER: Final = 16
_REGISTERS_IN_ARGUMENT: Final = 0  # of sys_enter and sys_exit: the pointer to pt_regs


class Event:
    """The event of a program: ``pointer`` is what the kernel passes to it.

    ``opaque`` are the indexes of arguments that cannot be loaded, only copied.
    Handlers of processes have the task they are about there, null for the current one.
    """

    __slots__ = ("_registers", "_word", "b", "kind", "opaque", "pointer")

    def __init__(
        self, kind: ProgramKind, b: FunctionBuilder, pointer: Value, opaque: tuple[int, ...] = ()
    ) -> None:
        self.opaque = opaque
        self.kind = kind
        self.b = b
        self.pointer = pointer
        self._registers: Value | None = None
        self._word: Value | None = None

    def value(self, name: str, index: int) -> Value:
        """Emit the reading of a value."""
        b = self.b
        if name == "task":
            return self.pointer.to_int() if self.kind == "process" else b.const("i64", 0)
        if name == "arg" and index < 0:
            return self._as_number(self.pointer.to_int())
        if name == "arg" and index in self.opaque:
            word = b.alloca("i64")
            b.store(0, word)
            b.helper(helpers.PROBE_READ_KERNEL, "i64", word, 8, b.at(self.pointer, 8 * index))
            return b.load("i64", word)
        if name == "arg":
            return self._as_number(b.load("i64", self.pointer, 8 * index))
        if self.kind in ("sys_enter", "sys_exit"):
            return self._of_system_call(name, index)
        if self.kind in ("fentry", "fexit"):
            return self._of_trampoline(name, index)
        if self.kind in ("session", "tp_btf", "process"):
            return b.const("i64", 0)  # nothing was interrupted or probed that has registers
        return self._of_registers(name, index)

    def _as_number(self, value: Value) -> Value:
        """The same value as a number for the verifier, too.

        It forbids most arithmetic on what it knows to be a pointer; turning the bytes round makes
        it forget, and LLVM keeps both turns when memory that it must not know lies between.
        """
        b = self.b
        if self._word is None:
            self._word = b.alloca("i64")
        b.store(b.bswap(value), self._word, volatile=True)
        return b.bswap(b.load("i64", self._word, volatile=True))

    def register(self, offset: int) -> Value:
        """A field of the registers at hand, by its offset in struct pt_regs."""
        if self.kind not in ("sys_enter", "sys_exit"):
            return self.b.load("i64", self.pointer, offset)
        if self._registers is None:
            self._registers = self.b.load("ptr", self.pointer, _REGISTERS_IN_ARGUMENT)
        return self.b.load("i64", self._registers, offset)

    def _of_system_call(self, name: str, index: int) -> Value:
        if name == "sysnr":
            if self.kind == "sys_enter":
                return self.b.load("i64", self.pointer, 8)
            return self.register(X86_ORIG_AX)
        if name in ("sysret", "retval"):
            if self.kind == "sys_exit":
                return self.b.load("i64", self.pointer, 8)
            return self.b.const("i64", 0)
        if name in ("sysarg", "funcarg"):
            return self.register(X86_PT_REGS[X86_SYSCALL_ARGS[index]])
        return self._of_registers(name, index)

    def _of_trampoline(self, name: str, index: int) -> Value:
        """The helpers give plain numbers, and 0 for an argument that the function has not."""
        b = self.b
        if name == "ip":
            return b.helper(helpers.GET_FUNC_IP, "i64", self.pointer)
        if name not in ("funcarg", "retval") or (name == "retval" and self.kind == "fentry"):
            return b.const("i64", 0)
        word = b.alloca("i64")
        b.store(0, word)
        if name == "retval":
            b.helper(helpers.GET_FUNC_RET, "i64", self.pointer, word)
        else:
            b.helper(helpers.GET_FUNC_ARG, "i64", self.pointer, index, word)
        return b.load("i64", word)

    def _of_registers(self, name: str, index: int) -> Value:
        b = self.b
        match name:
            case "reg":
                if index == _INSTRUCTION_POINTER:
                    return self._instruction_pointer()
                if index in X86_FURTHER:
                    return self.register(X86_FURTHER[index])
                if not 0 <= index < len(X86_PT_REGS):
                    raise CompileError(f"there is no register {index}")
                return self.register(X86_PT_REGS[index])
            case "ip":
                return self._instruction_pointer()
            case "retval":
                return self.register(X86_PT_REGS[0])
            case "user_mode":
                return self.register(X86_CS) & 3
            case "funcarg":
                return self._function_argument(index)
            case "saved":
                from pystap.backend.bpf.uprobe_programs import remembered

                return remembered(b)
        return b.const("i64", 0)

    def _instruction_pointer(self) -> Value:
        """The address of the probe, which a kprobe's registers are one or more bytes behind."""
        b = self.b
        found = self.register(X86_PT_REGS[_INSTRUCTION_POINTER])
        if self.kind != "kprobe":
            return found
        start = b.helper(helpers.GET_FUNC_IP, "i64", self.pointer)  # 0 inside of a function
        return b.select(start.eq(0), found - 1, start)

    def _function_argument(self, index: int) -> Value:
        """An integer argument by the calling convention, read at the function's entry."""
        if index < len(X86_FUNCTION_ARGS):
            return self.register(X86_PT_REGS[X86_FUNCTION_ARGS[index]])
        b = self.b
        behind_return_address = 8 * (index - len(X86_FUNCTION_ARGS) + 1)
        where = self.register(X86_PT_REGS[7]) + behind_return_address
        word = b.alloca("i64")
        b.store(0, word)
        in_kernel = self.kind in ("kprobe", "kretprobe")
        read = helpers.PROBE_READ_KERNEL if in_kernel else helpers.PROBE_READ_USER
        b.helper(read, "i64", word, 8, where)
        return b.load("i64", word)


def capture(s: Scope, event: Event, wanted: set[Captured]) -> None:
    """Take the values a handler asks for out of its event."""
    if STACK in wanted:
        from pystap.backend.bpf.intrinsics.stack import capture_stack

        wanted = wanted - {STACK}
        capture_stack(s, event)
    if USER_STACK in wanted:
        from pystap.backend.bpf.unwinding import capture as capture_user_stack

        wanted = wanted - {USER_STACK}
        capture_user_stack(s, event)
    values = {key: event.value(*key) for key in sorted(wanted) if key[0] != "probe_id"}
    if s.context is None:
        s.captured = values
        return
    for key, value in values.items():
        s.b.store(value, _place(s, key))


def _place(s: Scope, key: Captured) -> Value:
    number = s.u.event_slots.setdefault(key, len(s.u.event_slots))
    return s.b.at(s.area(_AREA, 8 * len(s.u.event_slots)), 8 * number)


def captured(s: Scope, name: str, index: int = 0) -> Value:
    """A value of the event, in the handler or in a function it calls."""
    if name == "probe_id":
        return s.probe if s.probe is not None else s.header(layout.PROBE)
    if s.context is None:
        return s.captured[name, index]
    return s.b.load("i64", _place(s, (name, index)))


@emit.emits_long(ops.ContextValue)
def _context_value(s: Scope, e: ops.ContextValue) -> Value:
    return captured(s, e.kind, e.index)
