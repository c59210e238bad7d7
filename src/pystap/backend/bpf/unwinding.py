"""The user-space stack of the current process, unwound where the event happens.

Each step looks for what is mapped at the address, for the row of that file's table, and reads the
stack as the row says (:mod:`pystap.debuginfo.callframes`).  Code that no row tells about is taken
to keep a frame pointer.  All state is in the context.

Of a process of 32 bits, esi and edi are where the rows look for r12 and r13.
"""

from __future__ import annotations

from pystap.backend.bpf import helpers, layout
from pystap.backend.bpf.facts import X86_ORIG_AX, X86_PT_REGS
from pystap.backend.bpf.loops import run_loop
from pystap.backend.bpf.scope import Scope, runtime_scope
from pystap.backend.bpf.user_mappings import (
    END,
    INODE,
    START,
    Reader,
    entered_narrow,
    find_mapping,
    found,
    offset_in_file,
)
from pystap.backend.bpf.user_objects import UNWIND, Table, note_unknown
from pystap.debuginfo import callframes as rows
from pystap.debuginfo.objecttable import NARROW_VDSO_INODE
from pystap.typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pystap.backend.bpf.context_values import Event
    from pystap.backend.bpf.unit import Unit
    from pystap.backend.llvm.builder import FunctionBuilder, Value

#: how often a stack was unwound for the present hit: 0 not yet, 1 it was, 2 there is none
_STATE: Final = 0
_COUNT: Final = 8
_FRAMES: Final = 16
_STACK_AREA: Final = "user_stack"
#: bit of an address in the stack: of an instruction that was interrupted, not to return to
EXACT: Final = 1 << 63

_REGISTERS: Final = 17
_TRAMPOLINE: Final = 8 * _REGISTERS  # address that return probes put in place of the caller's
_AT_RETURNS: Final = 8 * (_REGISTERS + 1)  # the kernel's list of what was there
_ROW: Final = 8 * (_REGISTERS + 2)
_WAS_EXACT: Final = 8 * (_REGISTERS + 4)
_WORD: Final = 8 * (_REGISTERS + 5)  # bytes of a word of the stack
_REGISTER_AREA: Final = "user_registers"
_IN_CALL: Final = 8 * (_REGISTERS + 6)  # whether a task of 32 bits is in a system call
_REGISTER_AREA_SIZE: Final = 8 * (_REGISTERS + 7)
_NARROW_MOVED: Final = {12: 4, 13: 5}  # place in the rows of 32-bit programs: register
_PT_REGS_SIZE: Final = 168
_PC, _SP, _FP = 16, 7, 6
_FARTHEST_FRAME: Final = 1 << 20
_OUTSTANDING: Final = 64  # returns that are searched for the one at hand

# Where the kernel puts registers for a signal handler, from the stack pointer of the code the
# handler returns to: struct ucontext of <asm/ucontext.h>, by DWARF number.
_SIGNAL_REGISTERS: Final = {
    3: 128, 6: 120, 12: 72, 13: 80, 14: 88, 15: 96, _SP: 160, _PC: 168,
}  # fmt: skip


def capture(s: Scope, event: Event) -> None:
    """Emit what a handler that asks for the stack begins with."""
    stack = _stack(s)
    # The session's own programs run in its own process: nobody asks for that one's stack.
    s.b.store(2 if event.kind == "session" else 0, stack, _STATE)
    s.b.store(0, stack, _COUNT)


def frames(s: Scope) -> Value:
    """Emit the unwinding of the stack, once for each hit; the number of its frames."""
    name = s.u.function("user_frames", ["index"], lambda b: _emit_frames(s.u, b))
    return s.b.call(name, s.header(layout.INDEX))


def frames_from(s: Scope, pc: Value, sp: Value, fp: Value) -> Value:
    """The same from given values of the program counter, stack pointer and frame pointer."""
    name = s.u.function(
        "user_frames_from", ["index", "pc", "sp", "fp"], lambda b: _emit_frames_from(s.u, b)
    )
    return s.b.call(name, s.header(layout.INDEX), pc, sp, fp)


def frame(s: Scope, number: Value) -> Value:
    """The address in a frame, with :data:`EXACT`; 0 behind the last."""
    b = s.b
    most = s.u.limits.maxbacktrace
    stack = _stack(s)
    count = b.load("i64", stack, _COUNT)
    within = b.barrier(b.select(number.ult(most), number, most - 1))
    room = _round_to_power(most)
    address = b.load("i64", b.at(stack, _FRAMES, within & (room - 1), scale=8))
    return b.select(number.ult(count), address, 0)


def _round_to_power(count: int) -> int:
    return 1 << (count - 1).bit_length()


def _stack(s: Scope) -> Value:
    return s.area(_STACK_AREA, _FRAMES + 8 * _round_to_power(s.u.limits.maxbacktrace))


def _registers(s: Scope) -> Value:
    return s.area(_REGISTER_AREA, _REGISTER_AREA_SIZE)


# ---- the beginning


def _emit_frames(u: Unit, b: FunctionBuilder) -> None:
    s = runtime_scope(u, b, b.args[0])
    stack = _stack(s)
    with b.if_(b.load("i64", stack, _STATE).ne(0)):
        b.ret(b.load("i64", stack, _COUNT))
    b.store(2, stack, _STATE)
    b.store(0, stack, _COUNT)
    with b.if_(_load_registers(s).eq(0)):
        b.ret(0)
    b.store(1, stack, _STATE)
    _unwind(s)
    b.ret(b.load("i64", stack, _COUNT))


def _load_registers(s: Scope) -> Value:
    """Take the registers with which the task entered the kernel; 0 for a task of the kernel."""
    b = s.b
    reader = Reader(s.u, b)
    task = b.helper(helpers.GET_CURRENT_TASK, "i64")
    mm = reader.member(task, "task_struct", "mm")
    current = b.helper(helpers.GET_CURRENT_TASK_BTF, "ptr")
    source = b.helper(helpers.TASK_PT_REGS, "i64", current)
    saved = s.area("pt_regs", _PT_REGS_SIZE)
    failed = b.helper(helpers.PROBE_READ_KERNEL, "i64", saved, _PT_REGS_SIZE, source)
    registers = _registers(s)
    for number, offset in enumerate(X86_PT_REGS):
        b.store(b.load("i64", saved, offset), registers, 8 * number)
    b.store(8, registers, _WORD)
    b.store(0, registers, _IN_CALL)
    with b.if_(entered_narrow(reader, b)):
        b.store(4, registers, _WORD)
        b.store(b.load("i64", saved, X86_ORIG_AX).sge(0).zext("i64"), registers, _IN_CALL)
        for place, number in _NARROW_MOVED.items():
            b.store(b.load("i64", saved, X86_PT_REGS[number]), registers, 8 * place)
    _find_returns(s, reader, task, mm)
    return b.select(failed.ne(0), 0, mm)


def _find_returns(s: Scope, reader: Reader, task: Value, mm: Value) -> None:
    """Note where the kernel keeps the return addresses that return probes have replaced."""
    b = s.b
    registers = _registers(s)
    b.store(0, registers, _TRAMPOLINE)
    b.store(0, registers, _AT_RETURNS)
    waiting = reader.member(task, "task_struct", "utask")
    with b.if_(waiting.ne(0)):
        area = reader.member(mm, "mm_struct", "uprobes_state", "xol_area")
        b.store(reader.member(area, "xol_area", "vaddr"), registers, _TRAMPOLINE)
        first = reader.member(waiting, "uprobe_task", "return_instances")
        b.store(first, registers, _AT_RETURNS)


def _emit_frames_from(u: Unit, b: FunctionBuilder) -> None:
    index, pc, sp, fp = b.args
    s = runtime_scope(u, b, index)
    stack = _stack(s)
    state = b.load("i64", stack, _STATE)
    with b.if_(state.eq(2)):
        b.ret(0)
    b.store(0, stack, _STATE)  # what is asked for without values is another stack
    b.store(0, stack, _COUNT)
    with b.if_(_load_registers(s).eq(0)):
        b.ret(0)
    registers = _registers(s)
    for number, value in ((_PC, pc), (_SP, sp), (_FP, fp)):
        b.store(value, registers, 8 * number)
    _unwind(s)
    b.ret(b.load("i64", stack, _COUNT))


def _unwind(s: Scope) -> None:
    """Add frames until there are no more or MAXBACKTRACE is reached."""
    b = s.b
    b.store(EXACT, _registers(s), _WAS_EXACT)
    step = s.u.function("user_step", ["index"], lambda fb: _emit_step(s.u, fb))

    def body(inner: Scope, _index: Value) -> None:
        inner.leave_if(inner.b.call(step, inner.header(layout.INDEX)).eq(0), "break")

    run_loop(s, s.u.limits.maxbacktrace, body, "frame")


# ---- a step


def _emit_step(u: Unit, b: FunctionBuilder) -> None:
    """Enter the present address and go on to the caller's: 1 when there is one."""
    index = b.args[0]
    s = runtime_scope(u, b, index)
    registers = _registers(s)
    address = b.load("i64", registers, 8 * _PC)
    exact = b.load("i64", registers, _WAS_EXACT)
    inside = address - b.select(exact.eq(0), 1, 0)
    mapped = _find_mapping(s, index, inside)
    # Any number at hand would do for a return address; what is not mapped is none.
    with b.if_(b.both(mapped.eq(0), exact.eq(0))):
        b.ret(0)
    _enter(s, address | exact)
    with b.if_(mapped.eq(0)):
        b.ret(0)
    b.store(0, registers, _WAS_EXACT)
    called = b.both(b.load("i64", registers, _IN_CALL).ne(0), exact.ne(0))
    with b.if_(b.both(called, b.load("i64", found(s), INODE).eq(NARROW_VDSO_INODE))):
        b.ret(b.call(_system_call_function(u), index))
    with b.if_(b.call(_row_function(u), index, inside).eq(0)):
        b.ret(b.call(_frame_pointer_function(u), index))
    kind = b.load("i8", registers, _ROW + 8).zext("i64")
    with b.switch(kind) as sw:
        with sw.case(rows.END):
            b.ret(0)
        with sw.case(rows.UNKNOWN):
            b.ret(b.call(_frame_pointer_function(u), index))
        with sw.case(rows.SIGNAL):
            b.ret(b.call(_signal_function(u), index))
    b.ret(b.call(_frame_function(u), index))


def _find_mapping(s: Scope, index: Value, address: Value) -> Value:
    """1 when there is a mapping of the address, which often is that of the frame before."""
    b = s.b
    where = found(s)
    start, end = b.load("i64", where, START), b.load("i64", where, END)
    known = b.both(address.uge(start), address.ult(end))
    first = b.load("i64", _stack(s), _COUNT).eq(0)
    mapped = b.var("i64", 1)
    with b.if_(b.either(first, known ^ 1)):
        mapped.set(find_mapping(s, index, address))
    return mapped.get()


def _enter(s: Scope, address: Value) -> None:
    """Add an address to the stack."""
    b = s.b
    stack = _stack(s)
    count = b.load("i64", stack, _COUNT)
    with b.if_(count.uge(s.u.limits.maxbacktrace)):
        b.ret(0)
    room = _round_to_power(s.u.limits.maxbacktrace)
    b.store(address, b.at(stack, _FRAMES, b.barrier(count & (room - 1)), scale=8))
    b.store(count + 1, stack, _COUNT)


def _row_function(u: Unit) -> str:
    """Copy the row of an address in the mapping found last to its place; 0 when there is none."""

    def make(b: FunctionBuilder) -> None:
        index, address = b.args
        s = runtime_scope(u, b, index)
        offset = offset_in_file(s, address)
        table = Table(s)
        with b.if_(table.address.eq(0)):
            note_unknown(s, table, address)
            b.ret(0)
        row = table.element(table.search(UNWIND, offset))
        registers = _registers(s)
        for at in (0, 8):
            b.store(b.load("i64", row, at), registers, _ROW + at)
        b.ret(1)

    return u.function("user_row", ["index", "address"], make)


class _Stack:
    """Reads the stack of the process in one function."""

    def __init__(self, s: Scope) -> None:
        b = self._b = s.b
        self._word = b.alloca("i64")
        known = b.load("i64", _registers(s), _WORD)
        #: its bytes, as the verifier knows
        self.width = b.select(known.eq(4), 4, 8)

    def word(self, address: Value) -> Value:
        """A word of the stack; the function ends with 0 when there is none."""
        b = self._b
        b.store(0, self._word)
        failed = b.helper(helpers.PROBE_READ_USER, "i64", self._word, self.width, address)
        with b.if_(failed.ne(0)):
            b.ret(0)
        return b.load("i64", self._word)


def _frame_pointer_function(u: Unit) -> str:
    """Go on to the caller by the frame pointer."""

    def make(b: FunctionBuilder) -> None:
        s = runtime_scope(u, b, b.args[0])
        registers, stack = _registers(s), _Stack(s)
        frame_, here = b.load("i64", registers, 8 * _FP), b.load("i64", registers, 8 * _SP)
        distance = frame_ - here
        with b.if_(b.either(distance.uge(_FARTHEST_FRAME), (frame_ & (stack.width - 1)).ne(0))):
            b.ret(0)
        outer = stack.word(frame_)
        b.store(outer, registers, 8 * _FP)
        _return_to(s, stack, frame_ + (stack.width << 1))

    return u.function("user_by_frame_pointer", ["index"], make)


def _signal_function(u: Unit) -> str:
    """Go on to what a signal interrupted."""

    def make(b: FunctionBuilder) -> None:
        s = runtime_scope(u, b, b.args[0])
        registers, stack = _registers(s), _Stack(s)
        here = b.load("i64", registers, 8 * _SP)
        for number, offset in _SIGNAL_REGISTERS.items():
            b.store(stack.word(here + offset), registers, 8 * number)
        b.store(EXACT, registers, _WAS_EXACT)
        b.ret(1)

    return u.function("user_by_signal", ["index"], make)


def _system_call_function(u: Unit) -> str:
    """Go on to what called the kernel by __kernel_vsyscall, which saves ecx, edx and ebp."""

    def make(b: FunctionBuilder) -> None:
        s = runtime_scope(u, b, b.args[0])
        registers, stack = _registers(s), _Stack(s)
        here = b.load("i64", registers, 8 * _SP)
        b.store(stack.word(here), registers, 8 * _FP)
        _return_to(s, stack, here + 16)

    return u.function("user_by_system_call", ["index"], make)


def _frame_function(u: Unit) -> str:
    """Go on to the caller as the row says."""

    def make(b: FunctionBuilder) -> None:
        s = runtime_scope(u, b, b.args[0])
        registers, stack = _registers(s), _Stack(s)
        here = b.load("i64", registers, 8 * _SP)
        cfa = _canonical_frame(s, stack)
        with b.if_(cfa.ule(here)):
            b.ret(0)
        for number, register in enumerate(rows.SAVED):
            _restore(s, cfa, number, register)
        _return_to(s, stack, cfa)

    return u.function("user_by_row", ["index"], make)


def _canonical_frame(s: Scope, stack: _Stack) -> Value:
    b = s.b
    registers = _registers(s)
    kind = b.load("i8", registers, _ROW + 8).zext("i64")
    offset = b.load("i32", registers, _ROW + 4).sext("i64")
    number = b.barrier(kind & 15)
    cfa = b.var("i64", b.load("i64", b.at(registers, 0, number, scale=8)) + offset)
    with b.if_((kind & ~15).eq(rows.DEREF)):
        cfa.set(stack.word(cfa.get()))
    with b.if_(kind.eq(rows.PLT)):
        late = (b.load("i64", registers, 8 * _PC) & 15).uge(11)
        words = b.select(late, stack.width << 1, stack.width)
        cfa.set(b.load("i64", registers, 8 * _SP) + words)
    return cfa.get()


def _restore(s: Scope, cfa: Value, number: int, register: int) -> None:
    """Give a register the value it has in the caller."""
    b = s.b
    registers = _registers(s)
    rule = b.load("i8", registers, _ROW + 9 + number).sext("i64")
    own = b.load("i64", registers, 8 * register)
    index = s.header(layout.INDEX)
    b.store(b.call(_saved_function(s.u), index, rule, cfa, own), registers, 8 * register)


def _saved_function(u: Unit) -> str:
    """The value of a register in the caller, by its rule and its present value; 0 if unknown."""

    def make(b: FunctionBuilder) -> None:
        index, rule, cfa, own = b.args
        with b.if_(rule.eq(rows.SAME)):
            b.ret(own)
        with b.if_(rule.eq(rows.LOST)):
            b.ret(0)
        stack = _Stack(runtime_scope(u, b, index))
        place = b.select(rule.eq(rows.AT_FRAME), own, cfa + rule * stack.width)
        b.ret(stack.word(place))

    return u.function("user_saved", ["index", "rule", "cfa", "own"], make)


def _return_to(s: Scope, stack: _Stack, cfa: Value) -> None:
    """End a step: the return address is just below the frame."""
    b = s.b
    registers = _registers(s)
    place = cfa - stack.width
    address = b.var("i64", stack.word(place))
    trampoline = b.load("i64", registers, _TRAMPOLINE)
    with b.if_(b.both(address.get().eq(trampoline), trampoline.ne(0))):
        first = b.load("i64", registers, _AT_RETURNS)
        address.set(b.call(_replaced_function(s.u), first, place))
    b.store(address.get(), registers, 8 * _PC)
    b.store(cfa, registers, 8 * _SP)
    b.ret(address.get().ne(0).zext("i64"))


def _replaced_function(u: Unit) -> str:
    """The return address that a return probe has replaced at a place of the stack."""

    def make(b: FunctionBuilder) -> None:
        first, place = b.args
        reader = Reader(u, b)
        here = b.var("i64", first)
        with b.for_range(0, _OUTSTANDING):
            with b.if_(here.get().eq(0)):
                b.ret(0)
            at = reader.member(here.get(), "return_instance", "stack")
            with b.if_(at.eq(place)):
                b.ret(reader.member(here.get(), "return_instance", "orig_ret_vaddr"))
            here.set(reader.member(here.get(), "return_instance", "next"))
        b.ret(0)

    return u.function("user_replaced_return", ["first", "place"], make)
