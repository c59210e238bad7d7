"""Location expressions of DWARF turned into syntax nodes.

The result is made of registers of the event, loads and arithmetic, so every runtime can compute
it.  What cannot be known at the place raises :class:`NoLocation`, with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pystap.debuginfo import btftypes as t
from pystap.debuginfo import dwarfconst as c
from pystap.lang import ast
from pystap.lang.tokens import Token
from pystap.lang.visit import clone
from pystap.longs import signed
from pystap.probes.core import CoreContext, CoreLoad
from pystap.probes.target import Space, binary, number
from pystap.records import dataclass
from pystap.typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from pystap.debuginfo.dwarf import Die, Op
    from pystap.debuginfo.dwarftypes import DwarfTypes

_WORD: Final = 8
_WIDTHS: Final = (8, 4, 2, 1)
_REGISTERS: Final = 17  # of x86-64 that a context has: the general ones and the return address
_BINARY: Final = {
    c.OP_AND: "&", c.OP_DIV: "/", c.OP_MINUS: "-", c.OP_MOD: "%", c.OP_MUL: "*", c.OP_OR: "|",
    c.OP_PLUS: "+", c.OP_SHL: "<<", c.OP_SHR: ">>>", c.OP_SHRA: ">>", c.OP_XOR: "^",
}  # fmt: skip
_COMPARISONS: Final = {
    c.OP_EQ: "==", c.OP_GE: ">=", c.OP_GT: ">", c.OP_LE: "<=", c.OP_LT: "<", c.OP_NE: "!=",
}  # fmt: skip
_TYPED_CONVERT: Final = (c.OP_CONVERT, c.OP_GNU_CONVERT, c.OP_REINTERPRET, c.OP_GNU_REINTERPRET)
_THREAD_LOCAL: Final = (c.OP_FORM_TLS_ADDRESS, c.OP_GNU_PUSH_TLS_ADDRESS)
_REFUSED: Final = {
    c.OP_IMPLICIT_POINTER: "it points to something that was optimized out",
    c.OP_GNU_IMPLICIT_POINTER: "it points to something that was optimized out",
    c.OP_GNU_PARAMETER_REF: "only the callers know it",
    c.OP_GNU_VARIABLE_VALUE: "it depends on a variable of an outer function",
    c.OP_BIT_PIECE: "it is scattered over single bits",
    c.OP_BRA: "its location is computed with branches",
    c.OP_SKIP: "its location is computed with branches",
}


class NoLocation(Exception):  # noqa: N818 - what is said of a variable
    """A value cannot be had at a place; the text says why, for the end of a sentence."""


@dataclass(slots=True)
class Frame:
    """Where locations are evaluated.

    ``function`` owns the frame base; ``address`` tells where what has an address in the file is.
    ``at_entry``: no instruction of the function has run yet.  ``thread_local`` makes the address
    of what is so many bytes into the thread's own variables of the file.
    """

    types: DwarfTypes
    function: Die | None
    pc: int
    at_entry: bool
    space: Space
    address: Callable[[int, Token], ast.Expr]
    tok: Token
    thread_local: Callable[[ast.Expr, Token], ast.Expr] | None = None


class Located(NamedTuple):
    """An address in memory, or the value's 8-byte words (None: not known)."""

    memory: bool
    words: tuple[ast.Expr | None, ...]


def locate(ops: Sequence[Op], frame: Frame) -> Located:
    """Where a variable is.  Raises :class:`NoLocation`."""
    if not ops:
        raise NoLocation("optimized out")
    if any(op.code == c.OP_PIECE for op in ops):
        return _pieces(ops, frame)
    return _simple(ops, frame)


def constant(value: int | bytes, frame: Frame) -> Located:
    """A variable that always has one value."""
    if isinstance(value, int):
        return Located(False, (number(signed(value), frame.tok),))
    return Located(False, tuple(_constant_words(value, frame.tok)))


def evaluate(ops: Sequence[Op], frame: Frame) -> ast.Expr:
    """The number that an expression leaves on its stack."""
    machine = _Machine(frame)
    for op in ops:
        machine.run(op)
    if not machine.stack:
        raise NoLocation("its location is empty")
    return machine.stack[-1]


# --- kinds of locations -------------------------------------------------------------------------


def _simple(ops: Sequence[Op], frame: Frame) -> Located:
    last = ops[-1]
    if len(ops) == 1:
        register = _register_of(last)
        if register is not None:
            return Located(False, (_register(register, frame),))
    if last.code == c.OP_IMPLICIT_VALUE:
        assert isinstance(last.value, bytes)
        return Located(False, tuple(_constant_words(last.value, frame.tok)))
    if last.code == c.OP_STACK_VALUE:
        return Located(False, (evaluate(ops[:-1], frame),))
    return Located(True, (evaluate(ops, frame),))


def _pieces(ops: Sequence[Op], frame: Frame) -> Located:
    """A value put together from several places."""
    total = sum(op.number for op in ops if op.code == c.OP_PIECE)
    words: list[ast.Expr | None] = [None] * ((total + _WORD - 1) // _WORD)
    known = [0] * len(words)  # bytes of each word that have a location
    offset = 0
    piece: list[Op] = []
    for op in ops:
        if op.code != c.OP_PIECE:
            piece.append(op)
            continue
        if piece:
            for at, size, part in _parts(_simple(piece, frame), op.number, frame):
                _place(words, known, offset + at, size, part, frame.tok)
        offset += op.number
        piece = []
    needed = [min(_WORD, total - _WORD * index) for index in range(len(words))]
    return Located(
        False,
        tuple(w if k == n else None for w, k, n in zip(words, known, needed, strict=True)),
    )


def _parts(located: Located, size: int, frame: Frame) -> list[tuple[int, int, ast.Expr]]:
    """A piece of a size as loads or words: offset in it, bytes, value."""
    first = located.words[0]
    assert first is not None  # only composites lack words
    if not located.memory:
        return [
            (index * _WORD, min(_WORD, size - index * _WORD), word)
            for index, word in enumerate(located.words)
            if word is not None and index * _WORD < size
        ]
    found, at = [], 0
    while at < size:
        width = next(w for w in _WIDTHS if w <= size - at)
        where = binary("+", clone(first), number(at, frame.tok), frame.tok)
        found.append((at, width, _load(where, width, False, frame)))
        at += width
    return found


def _place(
    words: list[ast.Expr | None],
    known: list[int],
    offset: int,
    size: int,
    part: ast.Expr,
    tok: Token,
) -> None:
    """Put a part where it belongs in the words."""
    index, within = divmod(offset, _WORD)
    if within + size > _WORD:
        low = _WORD - within
        upper = binary(">>>", clone(part), number(8 * low, tok), tok)
        _place(words, known, offset, low, part, tok)
        _place(words, known, offset + low, size - low, upper, tok)
        return
    if size < _WORD:
        part = binary("&", part, number((1 << 8 * size) - 1, tok), tok)
    if within:
        part = binary("<<", part, number(8 * within, tok), tok)
    before = words[index]
    words[index] = part if before is None else binary("|", before, part, tok)
    known[index] += size


def _constant_words(data: bytes, tok: Token) -> list[ast.Expr]:
    return [
        number(signed(int.from_bytes(data[at : at + _WORD], "little")), tok)
        for at in range(0, max(len(data), 1), _WORD)
    ]


# --- operations ---------------------------------------------------------------------------------


class _Machine:
    """The stack of a location expression, holding syntax nodes."""

    __slots__ = ("frame", "stack", "tok")

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        self.tok = frame.tok
        self.stack: list[ast.Expr] = []

    def run(self, op: Op) -> None:
        """Apply one operation."""
        code = op.code
        if code in _REFUSED:
            raise NoLocation(_REFUSED[code])
        if code in _BINARY:
            right, left = self._pop(), self._pop()
            self.stack.append(binary(_BINARY[code], left, right, self.tok))
        elif code in _COMPARISONS:
            right, left = self._pop(), self._pop()
            self.stack.append(
                ast.Compare(
                    tok=self.tok, type="long", op=_COMPARISONS[code], left=left, right=right
                )
            )
        elif not (self._push(op) or self._shuffle(op) or self._change(op)):
            raise NoLocation(f"its location uses operation {code:#x} of DWARF")

    def _pop(self) -> ast.Expr:
        if not self.stack:
            raise NoLocation("its location is malformed")
        return self.stack.pop()

    def _push(self, op: Op) -> bool:
        """Operations that push something new."""
        made = _constant(op, self.frame)
        if made is None:
            made = self._address(op)
        if made is None:
            return False
        self.stack.append(made)
        return True

    def _address(self, op: Op) -> ast.Expr | None:
        frame, code = self.frame, op.code
        if c.OP_BREG0 <= code <= c.OP_BREG31:
            return _plus(_register(code - c.OP_BREG0, frame), signed(op.number), self.tok)
        if code == c.OP_BREGX:
            return _plus(_register(op.number, frame), signed(op.number2), self.tok)
        if code == c.OP_FBREG:
            return _plus(_frame_base(frame), signed(op.number), self.tok)
        if code == c.OP_CALL_FRAME_CFA:
            return _frame_address(frame)
        if code in (c.OP_ADDR, c.OP_ADDRX, c.OP_GNU_ADDR_INDEX):
            address = op.number if code == c.OP_ADDR else op.value
            assert isinstance(address, int)
            return frame.address(signed(address), self.tok)
        if code in (c.OP_ENTRY_VALUE, c.OP_GNU_ENTRY_VALUE):
            return self._entry_value(op)
        if code in (c.OP_REGVAL_TYPE, c.OP_GNU_REGVAL_TYPE):
            return self._converted(_register(op.number, frame), op.value)
        return None

    def _entry_value(self, op: Op) -> ast.Expr:
        if not self.frame.at_entry:
            raise NoLocation("only its value at the function's entry is known")
        assert isinstance(op.value, list)
        inner: list[Op] = op.value
        register = _register_of(inner[0]) if len(inner) == 1 else None
        if register is not None:
            return _register(register, self.frame)
        return evaluate(inner, self.frame)

    def _shuffle(self, op: Op) -> bool:
        """Operations that move what is on the stack."""
        stack, code = self.stack, op.code
        if code == c.OP_NOP:
            return True
        if code == c.OP_DROP:
            self._pop()
        elif code in (c.OP_DUP, c.OP_OVER, c.OP_PICK):
            depth = {c.OP_DUP: 0, c.OP_OVER: 1}.get(code, op.number)
            if depth >= len(stack):
                raise NoLocation("its location is malformed")
            stack.append(clone(stack[-1 - depth]))
        elif code in (c.OP_SWAP, c.OP_ROT):
            count = 2 if code == c.OP_SWAP else 3
            if len(stack) < count:
                raise NoLocation("its location is malformed")
            stack.insert(len(stack) - count, stack.pop())
        else:
            return False
        return True

    def _change(self, op: Op) -> bool:
        """Operations that change the uppermost element."""
        code, frame, tok = op.code, self.frame, self.tok
        if code == c.OP_PLUS_UCONST:
            made = _plus(self._pop(), signed(op.number), tok)
        elif code == c.OP_DEREF:
            made = _load(self._pop(), _WORD, False, frame)
        elif code == c.OP_DEREF_SIZE:
            made = _load(self._pop(), op.number, False, frame)
        elif code in (c.OP_DEREF_TYPE, c.OP_GNU_DEREF_TYPE):
            made = self._converted(_load(self._pop(), op.number, False, frame), op.value)
        elif code in (c.OP_NEG, c.OP_NOT):
            operator = "-" if code == c.OP_NEG else "~"
            made = ast.Unary(tok=tok, type="long", op=operator, operand=self._pop())
        elif code == c.OP_ABS:
            made = _absolute(self._pop(), tok)
        elif code in _TYPED_CONVERT:
            made = self._converted(self._pop(), op.value)
        elif code in _THREAD_LOCAL:
            if frame.thread_local is None:
                raise NoLocation("it is thread-local")
            made = frame.thread_local(self._pop(), tok)
        else:
            return False
        self.stack.append(made)
        return True

    def _converted(self, value: ast.Expr, base: object) -> ast.Expr:
        """A value as a base type holds it; None is the type of addresses."""
        from pystap.debuginfo.dwarf import Die
        from pystap.probes.target import extended

        if not isinstance(base, Die):
            return value
        types = self.frame.types
        type_id = types.id_of(base)
        if not isinstance(types.type(type_id), t.Int) or types.sizeof(type_id) > _WORD:
            raise NoLocation("it is computed in a type that is no integer of up to 64 bits")
        return extended(value, types, type_id, self.tok)


def _constant(op: Op, frame: Frame) -> ast.Expr | None:
    code = op.code
    if c.OP_LIT0 <= code <= c.OP_LIT31:
        return number(code - c.OP_LIT0, frame.tok)
    if c.OP_CONST_FIRST <= code <= c.OP_CONST_LAST:
        return number(signed(op.number), frame.tok)
    if code in (c.OP_CONSTX, c.OP_GNU_CONST_INDEX):
        assert isinstance(op.value, int)
        return number(signed(op.value), frame.tok)
    return None


def _register_of(op: Op) -> int | None:
    """The register that an operation names as a location."""
    if c.OP_REG0 <= op.code <= c.OP_REG31:
        return op.code - c.OP_REG0
    return op.number if op.code == c.OP_REGX else None


def _register(index: int, frame: Frame) -> ast.Expr:
    if index >= _REGISTERS:
        raise NoLocation(
            "it is in a register for floating point or vectors, which no handler can read"
        )
    return CoreContext(tok=frame.tok, type="long", kind="reg", index=index)


def _frame_base(frame: Frame) -> ast.Expr:
    ops = None if frame.function is None else frame.function.location(c.AT_FRAME_BASE, frame.pc)
    if not ops:
        raise NoLocation("the frame of its function is not known here")
    register = _register_of(ops[0]) if len(ops) == 1 else None
    return evaluate(ops, frame) if register is None else _register(register, frame)


def _frame_address(frame: Frame) -> ast.Expr:
    ops = frame.types.dwarf.frame_cfa(frame.pc)
    if not ops:
        raise NoLocation("there is no unwind information for its function here")
    return evaluate(ops, frame)


def _load(where: ast.Expr, size: int, signed: bool, frame: Frame) -> ast.Expr:
    if size not in _WIDTHS:
        raise NoLocation(f"its location is behind {size} bytes of memory")
    return CoreLoad(
        tok=frame.tok, type="long", addr=where, space=frame.space, size=size, signed=signed
    )


def _plus(base: ast.Expr, offset: int, tok: Token) -> ast.Expr:
    if not offset:
        return base
    if isinstance(base, ast.Binary) and base.op == "+" and isinstance(base.right, ast.Number):
        return binary("+", base.left, number(signed(base.right.value + offset), tok), tok)
    return binary("+", base, number(offset, tok), tok)


def _absolute(value: ast.Expr, tok: Token) -> ast.Expr:
    negative = ast.Compare(tok=tok, type="long", op="<", left=value, right=number(0, tok))
    minus = ast.Unary(tok=tok, type="long", op="-", operand=clone(value))
    return ast.Ternary(tok=tok, type="long", cond=negative, yes=minus, no=clone(value))
