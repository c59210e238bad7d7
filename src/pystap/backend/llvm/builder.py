"""A small builder of textual LLVM IR with structured control flow, for ``bpfel`` and x86-64.

Text is appended to one list per function; there is no object graph.  Example::

    m = Module("bpf")
    with m.function("count", "i64", [("ptr", "ctx")], section="p.count") as b:
        total = b.var("i64", 0)
        with b.for_range(0, 8) as i:
            total.add(b.load("i64", b.at(b.args[0], 0, i, scale=8)))
        with b.if_(total.get().ugt(100)):
            b.ret(1)
        b.ret(0)
    text = m.text()

Types are LLVM's spellings (``"i64"``, ``"ptr"``, ``"[64 x i8]"``).  An int is accepted wherever a
value is; its type comes from the other operand, the signature, or is ``i64``.
Mistakes raise :class:`~pystap.backend.llvm.values.BuildError` where they are made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pystap.backend.llvm.blocks import If, IfElse, Loop, Switch
from pystap.backend.llvm.loops import ForRange, While
from pystap.backend.llvm.values import WIDTHS, BuildError, Operand, Value, Var, constant
from pystap.typing import Final, Literal

__all__ = ["BuildError", "FunctionBuilder", "Module", "Operand", "Value", "Var"]

Target = Literal["bpf", "x86_64"]

# LLVM must not make up library calls (fatal on BPF, unresolved natively) nor jump tables.
_TARGETS: Final = {
    "bpf": (
        'target datalayout = "e-m:e-p:64:64-i64:64-i128:128-n32:64-S128"\ntarget triple = "bpfel"',
        'nounwind "no-builtins" "no-jump-tables"="true"',
    ),
    "x86_64": (
        'target datalayout = "e-m:e-p270:32:32-p271:32:32-p272:64:64-i64:64-i128:128-f80:128'
        '-n8:16:32:64-S128"\ntarget triple = "x86_64-unknown-linux-gnu"',
        'nounwind "no-builtins" "no-jump-tables"="true"',
    ),
}
_BPF_INLINE_COPY: Final = 1024  # bytes LLVM expands inline: 128 stores of 8 bytes
_BPF_MAX_ARGS: Final = 5
_PURE: Final = " memory(none) nounwind willreturn"


class Module:
    """One compilation unit: functions, constants and declarations, in any order."""

    def __init__(self, target: Target) -> None:
        self.target: Target = target
        self.bpf = target == "bpf"
        self.signatures: dict[str, tuple[str, tuple[str, ...]]] = {}
        self._defined: set[str] = set()
        self._parts: list[str] = []
        self._intrinsics: dict[str, str] = {}
        self._constants: dict[tuple[bytes, int], str] = {}
        self._barriers = 0

    def function(
        self,
        name: str,
        ret: str,
        params: Sequence[tuple[str, str]] = (),
        *,
        linkage: str = "",
        attrs: Sequence[str] = (),
        section: str | None = None,
    ) -> FunctionBuilder:
        """Begin a function; use as ``with``, leaving it adds it to the module.

        ``params`` are (type, name) pairs; a type may carry attributes (``"ptr noalias"``).
        ``linkage`` is ``""`` (global) or ``"internal"``; ``attrs`` are LLVM function attributes
        (``alwaysinline``, ``noinline``).  Without ``section`` the function gets one of its own,
        ``p.NAME`` (LLVM refuses a section named like its function).
        """
        if name in self._defined:
            raise BuildError(f"function {name} defined twice")
        types = tuple(ty.split(" ", 1)[0] for ty, _ in params)
        self.forward(name, ret, types)
        if self.bpf and len(params) > _BPF_MAX_ARGS and "alwaysinline" not in attrs:
            raise BuildError(f"{name}: more than {_BPF_MAX_ARGS} arguments need alwaysinline")
        self._defined.add(name)
        text = ", ".join(f"{ty} %{pname}" for ty, pname in params)
        head = (
            f"define {linkage} {ret} @{name}({text}) {' '.join(attrs)} #0 "
            f'section "{section or "p." + name}" {{'
        )
        names = [Argument(ty, pname) for ty, (_, pname) in zip(types, params)]
        return FunctionBuilder(self, name, ret, head, names)

    def forward(self, name: str, ret: str, params: Sequence[str]) -> None:
        """Make a function callable that is defined elsewhere in the module, maybe later."""
        signature = (ret, tuple(params))
        if self.signatures.setdefault(name, signature) != signature:
            raise BuildError(f"{name} has two signatures: {self.signatures[name]}, {signature}")

    def declare(self, name: str, ret: str, params: Sequence[str]) -> None:
        """Declare an external function."""
        self.forward(name, ret, params)
        self._intrinsics[name] = f"declare {ret} @{name}({', '.join(params)})"

    def defined(self, name: str) -> bool:
        """Whether the body of ``name`` was begun already."""
        return name in self._defined

    def require(self, name: str, make: Callable[[Module], None]) -> str:
        """Run ``make`` once, when ``name`` is first needed; gives the name back for ``call``."""
        if name not in self._defined:
            make(self)
            if name not in self._defined:
                raise BuildError(f"the maker of {name} did not define it")
        return name

    def data(self, content: bytes, *, align: int = 8) -> str:
        """A read-only global with these bytes; equal ones are shared.  Returns its name."""
        key = (content, align)
        name = self._constants.get(key)
        if name is None:
            name = self._constants[key] = f"data.{len(self._constants)}"
            self.global_(name, content, align=align)
        return name

    def global_(self, name: str, content: bytes, *, constant: bool = True, align: int = 8) -> None:
        """A named internal global with initial bytes; a writable one cannot be linked for BPF."""
        if self.bpf and not constant:
            raise BuildError("BPF programs keep writable data in maps")
        text = "".join(
            chr(c) if 32 <= c < 127 and c not in b'"\\' else f"\\{c:02X}" for c in content
        )
        kind = "constant" if constant else "global"
        self._parts.append(
            f'@{name} = internal {kind} [{len(content)} x i8] c"{text}", align {align}'
        )

    def intrinsic(self, name: str, declaration: str) -> None:
        """Declare an LLVM intrinsic once."""
        self._intrinsics.setdefault(name, declaration)

    def add(self, lines: list[str]) -> None:
        """Take over the text of a finished function."""
        self._parts += lines

    def next_barrier(self) -> int:
        """A number no other optimisation barrier has."""
        self._barriers += 1
        return self._barriers

    def text(self) -> bytes:
        """The whole module as textual IR, ready for ``binding.compile_object``."""
        head, attributes = _TARGETS[self.target]
        parts = [head, *self._parts, *self._intrinsics.values()]
        parts.append(f"attributes #0 = {{ {attributes} }}\n")
        return "\n".join(parts).encode("latin-1")


class Argument:
    """A parameter's type and name until the function builder makes it a value."""

    __slots__ = ("name", "ty")

    def __init__(self, ty: str, name: str) -> None:
        self.ty = ty
        self.name = name


class FunctionBuilder:
    """Emits one function.  ``args`` are its parameters, ``block`` the label written last."""

    def __init__(
        self, module: Module, name: str, ret: str, head: str, args: Sequence[Argument]
    ) -> None:
        self.m = module
        self.name = name
        self.ret_ty = ret
        self.out: list[str] = []
        self.args = [Value(self, "%" + arg.name, arg.ty) for arg in args]
        self.block = "entry"
        self.live = True
        self.loops: list[Loop] = []
        self._head = head
        self._slots: list[str] = []
        self._opaque: Value | None = None
        self._count = 0

    def __enter__(self) -> FunctionBuilder:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            return
        if self.live and self.ret_ty != "void":
            raise BuildError(f"{self.name}: control reaches the end without ret")
        self.out.append("ret void" if self.live else "unreachable")
        self.m.add([self._head, "entry:", *self._slots, *self.out, "}"])

    # ---- names, blocks, terminators

    def new_label(self, prefix: str) -> str:
        """A fresh block name."""
        self._count += 1
        return f"{prefix}{self._count}"

    def place(self, label: str, live: bool = True) -> None:
        """Begin the block ``label``; ``live`` says whether control can get there."""
        self.out.append(label + ":")
        self.block = label
        self.live = live

    def terminate(self, text: str) -> None:
        """End the block with a terminator and go on in one that nothing reaches."""
        self.out.append(text)
        self.place(self.new_label("dead"), live=False)

    def jump(self, label: str) -> None:
        """Branch to a label; a block must be placed next."""
        self.out.append(f"br label %{label}")
        self.live = False

    def branch_if(self, cond: Value, yes: str, no: str) -> None:
        """Branch on an ``i1``; a block must be placed next."""
        if cond.ty != "i1":
            raise BuildError(f"condition of type {cond.ty}, not i1")
        self.out.append(f"br i1 {cond.text}, label %{yes}, label %{no}")
        self.live = False

    def ret(self, value: Operand | None = None) -> None:
        """Return from the function."""
        if value is None:
            if self.ret_ty != "void":
                raise BuildError(f"{self.name}: ret without value")
            self.terminate("ret void")
        else:
            self.terminate(f"ret {self.ret_ty} {self.operand(value, self.ret_ty)}")

    def unreachable(self) -> None:
        """Tell LLVM control cannot get here."""
        self.terminate("unreachable")

    def break_(self) -> None:
        """Leave the innermost loop."""
        loop = self._loop()
        loop.end_live = loop.end_live or self.live
        self.terminate(f"br label %{loop.end}")

    def continue_(self) -> None:
        """Begin the innermost loop's next round."""
        self.terminate(f"br label %{self._loop().next}")

    def _loop(self) -> Loop:
        if not self.loops:
            raise BuildError("break_ or continue_ outside a loop")
        return self.loops[-1]

    # ---- structured control flow (see the classes for use)

    def if_(self, cond: Value) -> If:
        """``with b.if_(cond):``"""
        return If(self, cond)

    def if_else(self, cond: Value) -> IfElse:
        """``with b.if_else(cond) as (then, orelse):`` then ``with then:`` and ``with orelse:``."""
        return IfElse(self, cond)

    def loop(self) -> Loop:
        """``with b.loop():`` - until ``break_`` or ``ret``."""
        return Loop(self)

    def while_(self, cond: Callable[[], Value]) -> While:
        """``with b.while_(lambda: cond):``"""
        return While(self, cond)

    def for_range(self, start: Operand, stop: Operand, step: int = 1) -> ForRange:
        """``with b.for_range(start, stop) as i:`` - ``i`` is an ``i64``, compared unsigned."""
        return ForRange(self, start, stop, step)

    def switch(self, value: Value) -> Switch:
        """``with b.switch(value) as sw:`` then ``with sw.case(1):`` ... ``with sw.default():``."""
        return Switch(self, value)

    # ---- operands and plain instructions

    def operand(self, value: Operand, ty: str) -> str:
        """Text of a value after checking its type, or of an int as constant of that type."""
        if isinstance(value, Value):
            if value.ty != ty:
                raise BuildError(f"{self.name}: {value!r} where {ty} is needed")
            return value.text
        return constant(value, ty)

    def typed(self, value: Operand) -> str:
        """``type text`` of a value; an int counts as ``i64``."""
        if isinstance(value, Value):
            return f"{value.ty} {value.text}"
        return "i64 " + constant(value, "i64")

    def emit(self, ty: str, text: str) -> Value:
        """Append an instruction that yields a value of type ``ty``."""
        self._count += 1
        name = f"%v{self._count}"
        self.out.append(f"{name} = {text}")
        return Value(self, name, ty)

    def const(self, ty: str, value: int) -> Value:
        """An integer constant, or a pointer with this address (0: null)."""
        return Value(self, constant(value, ty), ty)

    def null(self) -> Value:
        """The null pointer."""
        return Value(self, "null", "ptr")

    def symbol(self, name: str) -> Value:
        """Address of a function (for callbacks) or global of the module."""
        return Value(self, "@" + name, "ptr")

    def data(self, content: bytes, *, align: int = 8) -> Value:
        """Address of a read-only constant with these bytes."""
        return self.symbol(self.m.data(content, align=align))

    def binary(self, op: str, left: Value, right: Operand) -> Value:
        """An arithmetic instruction named as LLVM names it."""
        ty = left.ty
        if ty not in WIDTHS:
            raise BuildError(f"{self.name}: {op} of {left!r}")
        return self.emit(ty, f"{op} {ty} {left.text}, {self.operand(right, ty)}")

    def compare(self, predicate: str, left: Value, right: Operand) -> Value:
        """``icmp``; gives an ``i1``.  Pointers can be compared, with 0 as null."""
        ty = left.ty
        return self.emit("i1", f"icmp {predicate} {ty} {left.text}, {self.operand(right, ty)}")

    def convert(self, op: str, value: Value, ty: str) -> Value:
        """A conversion instruction; to the same type it is nothing."""
        if value.ty == ty:
            return value
        return self.emit(ty, f"{op} {value.ty} {value.text} to {ty}")

    def signed_division(self, left: Value, right: Operand, *, remainder: bool) -> Value:
        """Quotient or remainder through absolute values; see :meth:`Value.sdiv`."""
        divisor = right if isinstance(right, Value) else self.const(left.ty, right)
        a, b = self._absolute(left), self._absolute(divisor)
        if remainder:
            result, negative = a % b, left.slt(0)
        else:
            result, negative = a // b, (left ^ divisor).slt(0)
        return self.select(negative, -result, result)

    def _absolute(self, value: Value) -> Value:
        return self.select(value.slt(0), -value, value)

    def select(self, cond: Value, yes: Operand, no: Operand) -> Value:
        """``cond ? yes : no`` without a branch; at least one side must be a value."""
        known = yes if isinstance(yes, Value) else no
        ty = known.ty if isinstance(known, Value) else "i64"
        return self.emit(
            ty,
            f"select i1 {self.operand(cond, 'i1')}, "
            f"{ty} {self.operand(yes, ty)}, {ty} {self.operand(no, ty)}",
        )

    def phi(self, ty: str, *incoming: tuple[Operand, str]) -> Value:
        """A phi of (value, label); must come first in its block.  Prefer variables."""
        pairs = ", ".join(f"[{self.operand(v, ty)}, %{label}]" for v, label in incoming)
        return self.emit(ty, f"phi {ty} {pairs}")

    def both(self, left: Value, right: Value) -> Value:
        """Logical and of two ``i1`` that are both evaluated."""
        return left & right

    def either(self, left: Value, right: Value) -> Value:
        """Logical or of two ``i1`` that are both evaluated."""
        return left | right

    # ---- memory

    def var(self, ty: str, init: Operand | None = None) -> Var:
        """A mutable variable; without ``init`` its content is undefined."""
        var = Var(self, self.alloca(ty), ty)
        if init is not None:
            var.set(init)
        return var

    def alloca(self, ty: str, *, align: int | None = None) -> Value:
        """A stack slot (in the entry block, once per call of the function)."""
        self._count += 1
        name = f"%s{self._count}"
        self._slots.append(f"{name} = alloca {ty}{_align(align)}")
        return Value(self, name, "ptr")

    def load(
        self, ty: str, ptr: Value, offset: int = 0, *, volatile: bool = False, align: int = 0
    ) -> Value:
        """Read ``ty`` at ``ptr`` + ``offset`` bytes; ``align`` in bytes (0: natural)."""
        where = self._address(ptr, offset)
        how = "load volatile" if volatile else "load"
        return self.emit(ty, f"{how} {ty}, ptr {where}{_align(align)}")

    def store(
        self,
        value: Operand,
        ptr: Value,
        offset: int = 0,
        *,
        ty: str | None = None,
        volatile: bool = False,
        align: int = 0,
    ) -> None:
        """Write a value at ``ptr`` + ``offset`` bytes; ``ty`` gives the type of an int (i64)."""
        if ty is None:
            ty = value.ty if isinstance(value, Value) else "i64"
        text = self.operand(value, ty)
        where = self._address(ptr, offset)
        how = "store volatile" if volatile else "store"
        self.out.append(f"{how} {ty} {text}, ptr {where}{_align(align)}")

    def _address(self, ptr: Value, offset: int) -> str:
        if ptr.ty != "ptr":
            raise BuildError(f"{self.name}: {ptr!r} used as address")
        return self.at(ptr, offset).text if offset else ptr.text

    def at(self, ptr: Value, offset: Operand, index: Operand = 0, *, scale: int = 1) -> Value:
        """Address ``offset`` + ``index`` * ``scale`` bytes behind ``ptr``."""
        if isinstance(index, Value):
            base = self.at(ptr, offset)
            unit = "i8" if scale == 1 else f"[{scale} x i8]"
            return self.emit(
                "ptr", f"getelementptr {unit}, ptr {base.text}, {index.ty} {index.text}"
            )
        if isinstance(offset, int):
            offset += index * scale
            if offset == 0:
                return ptr
        elif index:
            return self.at(self.at(ptr, offset), index * scale)
        return self.emit("ptr", f"getelementptr i8, ptr {ptr.text}, {self.typed(offset)}")

    def memcpy(self, dst: Value, src: Value, size: Operand, *, align: int = 1) -> None:
        """Copy; both addresses are multiples of ``align``.  For BPF: at most 1024 bytes, known."""
        self._check_copy(size, align)
        name = "llvm.memcpy.p0.p0.i64"
        self.m.intrinsic(name, f"declare void @{name}(ptr, ptr, i64, i1)")
        self.out.append(
            f"call void @{name}(ptr align {align} {dst.text}, ptr align {align} {src.text}, "
            f"i64 {self.operand(size, 'i64')}, i1 false)"
        )

    def memset(self, dst: Value, byte: Operand, size: Operand, *, align: int = 1) -> None:
        """Fill; limits as :meth:`memcpy`."""
        self._check_copy(size, align)
        name = "llvm.memset.p0.i64"
        self.m.intrinsic(name, f"declare void @{name}(ptr, i8, i64, i1)")
        self.out.append(
            f"call void @{name}(ptr align {align} {dst.text}, i8 {self.operand(byte, 'i8')}, "
            f"i64 {self.operand(size, 'i64')}, i1 false)"
        )

    def _check_copy(self, size: Operand, align: int) -> None:
        if not self.m.bpf:
            return
        limit = _BPF_INLINE_COPY // 8 * min(align, 8)
        if not isinstance(size, int) or size > limit:
            raise BuildError(f"{self.name}: BPF copies of at most {limit} known bytes, got {size}")

    # ---- calls

    def call(self, name: str, *args: Operand) -> Value:
        """Call a function of the module, or a declared one, by name."""
        try:
            ret, params = self.m.signatures[name]
        except KeyError:
            raise BuildError(f"call of unknown function {name}; use Module.forward") from None
        if len(args) != len(params):
            raise BuildError(f"{name} takes {len(params)} arguments, not {len(args)}")
        text = ", ".join(f"{ty} {self.operand(arg, ty)}" for ty, arg in zip(params, args))
        return self._call(ret, "@" + name, text)

    def helper(self, number: int, ret: str, *args: Operand, pure: bool = False) -> Value:
        """Call a BPF helper (or magic number to be patched later); ints are passed as ``i64``.

        A ``pure`` one only has a result: without use it is left out.
        """
        if len(args) > _BPF_MAX_ARGS:
            raise BuildError(f"helper {number} with {len(args)} arguments")
        function = f"inttoptr (i64 {number} to ptr)"
        return self._call(ret, function, ", ".join(map(self.typed, args)), _PURE if pure else "")

    def _call(self, ret: str, function: str, args: str, attributes: str = "") -> Value:
        text = f"call {ret} {function}({args}){attributes}"
        if ret == "void":
            self.out.append(text)
            return Value(self, "poison", "void")
        return self.emit(ret, text)

    def intrinsic(self, name: str, ret: str, *args: Value) -> Value:
        """Call an LLVM intrinsic whose declaration follows from its operands."""
        types = ", ".join(arg.ty for arg in args)
        self.m.intrinsic(name, f"declare {ret} @{name}({types})")
        return self._call(ret, "@" + name, ", ".join(map(self.typed, args)))

    def bswap(self, value: Value) -> Value:
        """Reverse the bytes of an ``i16``, ``i32`` or ``i64``."""
        return self.intrinsic(f"llvm.bswap.{value.ty}", value.ty, value)

    def leading_zeros(self, value: Value) -> Value:
        """How many zero bits are above the highest one set in 64 bits; 64 for 0.

        Written out, for LLVM knows the range of its own operation: it would drop the mask that
        follows, without which the verifier takes the result for up to 255.
        """
        for distance in (1, 2, 4, 8, 16, 32):
            value = value | (value >> distance)
        value = value ^ -1
        value = value - (value >> 1 & 0x5555555555555555)
        value = (value & 0x3333333333333333) + (value >> 2 & 0x3333333333333333)
        value = value + (value >> 4) & 0x0F0F0F0F0F0F0F0F
        return value * 0x0101010101010101 >> 56

    # ---- atomics

    def atomic_rmw(
        self, op: str, ptr: Value, value: Operand, *, ty: str = "i64", order: str = "seq_cst"
    ) -> Value:
        """``add``, ``and``, ``or``, ``xor`` or ``xchg`` on memory; gives the old value.

        For a counter whose old value is not wanted ``order="monotonic"`` is cheapest.
        """
        self._check_atomic(ty)
        return self.emit(
            ty, f"atomicrmw {op} ptr {ptr.text}, {ty} {self.operand(value, ty)} {order}"
        )

    def cmpxchg(self, ptr: Value, old: Operand, new: Operand, *, ty: str = "i64") -> Value:
        """Compare and exchange; gives the value found (the exchange happened if it is ``old``)."""
        self._check_atomic(ty)
        pair = self.emit(
            f"{{{ty}, i1}}",
            f"cmpxchg ptr {ptr.text}, {ty} {self.operand(old, ty)}, "
            f"{ty} {self.operand(new, ty)} seq_cst seq_cst",
        )
        found = self.emit(ty, f"extractvalue {pair.ty} {pair.text}, 0")
        # LLVM would make a flag of the comparison that follows, and compare that.
        return self.barrier(found) if self.m.bpf else found

    def _check_atomic(self, ty: str) -> None:
        if ty not in ("i32", "i64"):
            raise BuildError(f"atomic operation on {ty}")

    def load_acquire(self, ty: str, ptr: Value) -> Value:
        """Atomic load with acquire order; not for BPF (read volatile there)."""
        self._native_only("load_acquire")
        return self.emit(ty, f"load atomic {ty}, ptr {ptr.text} acquire, align {WIDTHS[ty] // 8}")

    def store_release(self, value: Value, ptr: Value) -> None:
        """Atomic store with release order; not for BPF."""
        self._native_only("store_release")
        ty = value.ty
        size = WIDTHS[ty] // 8
        self.out.append(f"store atomic {ty} {value.text}, ptr {ptr.text} release, align {size}")

    def _native_only(self, what: str) -> None:
        if self.m.bpf:
            raise BuildError(f"{what} is not available for BPF")

    # ---- BPF

    def map_fd(self, placeholder: int) -> Value:
        """Reference to a map: the pointer helpers take.  See ``object.MapFixup``."""
        return self._pseudo(1, placeholder)

    def map_value(self, placeholder: int, offset: int = 0) -> Value:
        """Address ``offset`` bytes into the value of a one-element array map."""
        return self.at(self._pseudo(2, placeholder), offset)

    def _pseudo(self, kind: int, number: int) -> Value:
        if not self.m.bpf:
            raise BuildError("map references exist on BPF only")
        self.m.intrinsic("llvm.bpf.pseudo", "declare i64 @llvm.bpf.pseudo(i64, i64)")
        address = self.emit("i64", f"call i64 @llvm.bpf.pseudo(i64 {kind}, i64 {number})")
        return address.to_ptr()

    def barrier(self, value: Value) -> Value:
        """The same value, but LLVM no longer knows where it comes from (BPF only).

        Keeps a bound check and its use on the same register: ``i = b.barrier(i) & mask``.
        """
        if not self.m.bpf:
            raise BuildError("barrier exists on BPF only")
        ty = "p0" if value.ty == "ptr" else value.ty
        name = f"llvm.bpf.passthrough.{ty}.{ty}"
        self.m.intrinsic(name, f"declare {value.ty} @{name}(i32, {value.ty})")
        number = self.m.next_barrier()
        return self._call(value.ty, "@" + name, f"i32 {number}, {value.ty} {value.text}")

    def opaque(self, value: Value) -> Value:
        """The same number, of which LLVM knows nothing at all.

        Instruction selection sees through :meth:`barrier`.  Where it knows the range of a number
        and a verifier does not, as after a division, it would drop the check the verifier needs.
        """
        if self._opaque is None:
            self._opaque = self.alloca("i64")
        self.store(value, self._opaque, volatile=True)
        return self.load("i64", self._opaque, volatile=True)


def _align(align: int | None) -> str:
    return f", align {align}" if align else ""
