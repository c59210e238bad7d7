"""Typed SSA values and mutable variables of the textual IR builder."""

from __future__ import annotations

from pystap.typing import TYPE_CHECKING, Final, Union

if TYPE_CHECKING:
    from pystap.backend.llvm.builder import FunctionBuilder

WIDTHS: Final = {"i1": 1, "i8": 8, "i16": 16, "i32": 32, "i64": 64, "i128": 128}


class BuildError(Exception):
    """The builder was asked for something that is wrong: types, structure, or target limits."""


def constant(value: int, ty: str) -> str:
    """Text of an integer as constant of type ``ty``; wraps to the width; 0 of a ptr is null."""
    if ty == "ptr":
        return f"inttoptr (i64 {constant(value, 'i64')} to ptr)" if value else "null"
    bits = WIDTHS.get(ty)
    if bits is None:
        raise BuildError(f"no integer constant of type {ty}")
    half = 1 << (bits - 1)
    if -half <= value < half:
        return str(value)
    if bits == 1:
        return str(value & 1)
    return str(((value + half) & ((1 << bits) - 1)) - half)


class Value:
    """An SSA value: ``text`` stands in the IR (``%v3``, ``@name``, ``42``), ``ty`` is its type.

    Operators build instructions in the function the value belongs to.  The other operand is a
    value of the same type or an int.  ``>>`` and ``//`` are unsigned; signed forms are methods.
    Comparisons are methods (``eq``, ``ult`` ...) and give an ``i1``.  ``ptr + n`` steps n bytes.
    """

    __slots__ = ("b", "text", "ty")

    def __init__(self, b: FunctionBuilder, text: str, ty: str) -> None:
        self.b = b
        self.text = text
        self.ty = ty

    def __repr__(self) -> str:
        return f"{self.ty} {self.text}"

    def __bool__(self) -> bool:
        raise BuildError("a run-time value used as Python condition; use if_() or select()")

    def __add__(self, other: Operand) -> Value:
        if self.ty == "ptr":
            return self.b.at(self, other)
        return self.b.binary("add", self, other)

    def __radd__(self, other: int) -> Value:
        return self.__add__(other)

    def __sub__(self, other: Operand) -> Value:
        return self.b.binary("sub", self, other)

    def __rsub__(self, other: int) -> Value:
        return self.b.binary("sub", self.b.const(self.ty, other), self)

    def __mul__(self, other: Operand) -> Value:
        return self.b.binary("mul", self, other)

    __rmul__ = __mul__

    def __and__(self, other: Operand) -> Value:
        return self.b.binary("and", self, other)

    __rand__ = __and__

    def __or__(self, other: Operand) -> Value:
        return self.b.binary("or", self, other)

    __ror__ = __or__

    def __xor__(self, other: Operand) -> Value:
        return self.b.binary("xor", self, other)

    __rxor__ = __xor__

    def __lshift__(self, other: Operand) -> Value:
        return self.b.binary("shl", self, other)

    def __rshift__(self, other: Operand) -> Value:
        """Logical (zero filling) shift."""
        return self.b.binary("lshr", self, other)

    def __floordiv__(self, other: Operand) -> Value:
        """Unsigned division; undefined for a divisor of 0."""
        return self.b.binary("udiv", self, other)

    def __mod__(self, other: Operand) -> Value:
        """Unsigned remainder; undefined for a divisor of 0."""
        return self.b.binary("urem", self, other)

    def __invert__(self) -> Value:
        return self.b.binary("xor", self, -1)

    def __neg__(self) -> Value:
        return self.b.binary("sub", self.b.const(self.ty, 0), self)

    def sar(self, other: Operand) -> Value:
        """Arithmetic (sign filling) shift right."""
        return self.b.binary("ashr", self, other)

    def sdiv(self, other: Operand) -> Value:
        """Signed division, truncating; the least value divided by -1 wraps to itself.

        Made from an unsigned division, so it works on every target.  Undefined for a divisor of 0.
        """
        return self.b.signed_division(self, other, remainder=False)

    def srem(self, other: Operand) -> Value:
        """Signed remainder with the sign of the dividend; see :meth:`sdiv`."""
        return self.b.signed_division(self, other, remainder=True)

    def eq(self, other: Operand) -> Value:
        return self.b.compare("eq", self, other)

    def ne(self, other: Operand) -> Value:
        return self.b.compare("ne", self, other)

    def ult(self, other: Operand) -> Value:
        return self.b.compare("ult", self, other)

    def ule(self, other: Operand) -> Value:
        return self.b.compare("ule", self, other)

    def ugt(self, other: Operand) -> Value:
        return self.b.compare("ugt", self, other)

    def uge(self, other: Operand) -> Value:
        return self.b.compare("uge", self, other)

    def slt(self, other: Operand) -> Value:
        return self.b.compare("slt", self, other)

    def sle(self, other: Operand) -> Value:
        return self.b.compare("sle", self, other)

    def sgt(self, other: Operand) -> Value:
        return self.b.compare("sgt", self, other)

    def sge(self, other: Operand) -> Value:
        return self.b.compare("sge", self, other)

    def zext(self, ty: str) -> Value:
        """Zero extend; the same type gives the value itself."""
        return self.b.convert("zext", self, ty)

    def sext(self, ty: str) -> Value:
        """Sign extend; the same type gives the value itself."""
        return self.b.convert("sext", self, ty)

    def trunc(self, ty: str) -> Value:
        """Drop high bits; the same type gives the value itself."""
        return self.b.convert("trunc", self, ty)

    def to_int(self, ty: str = "i64") -> Value:
        """A pointer as integer."""
        return self.b.convert("ptrtoint", self, ty)

    def to_ptr(self) -> Value:
        """An integer as pointer."""
        return self.b.convert("inttoptr", self, "ptr")


Operand = Union[Value, int]  # noqa: UP007  (a runtime alias: Value is a class defined above)


class Var:
    """A mutable variable: a stack slot that the optimiser turns into registers."""

    __slots__ = ("b", "ptr", "ty")

    def __init__(self, b: FunctionBuilder, ptr: Value, ty: str) -> None:
        self.b = b
        self.ptr = ptr
        self.ty = ty

    def get(self) -> Value:
        """Read the present value."""
        return self.b.load(self.ty, self.ptr)

    def set(self, value: Operand) -> None:
        """Assign."""
        self.b.store(value, self.ptr, ty=self.ty)

    def add(self, value: Operand) -> None:
        """Add in place (bytes for a pointer)."""
        self.set(self.get() + value)
