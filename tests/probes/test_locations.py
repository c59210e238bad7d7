"""Location expressions: the nodes they become, computed with known registers and memory."""

from __future__ import annotations

import pytest

from pystap.debuginfo import dwarfconst as c
from pystap.debuginfo.dwarf import Op
from pystap.lang import ast
from pystap.lang.source import Source
from pystap.lang.tokens import Token
from pystap.probes.core import CoreContext, CoreLoad
from pystap.probes.locations import Frame, Located, NoLocation, constant, locate
from pystap.probes.target import binary, number

TOK = Token("identifier", "x", Source("x", "x"), 0)
MASK = (1 << 64) - 1
REGISTERS = {0: 7, 1: MASK, 5: 0x1122334455667788, 6: 0x1000, 7: 0x2000}
MEMORY = {0x1008: 0xDEADBEEF, 0x1010: 0x2000, 0x2000: 0x0102030405060708}
BIAS = 0x500000


def signed(value: int) -> int:
    value &= MASK
    return value - (1 << 64) if value >> 63 else value


def load(address: int, size: int) -> int:
    word = MEMORY[address & ~7] >> 8 * (address & 7)
    return word & ((1 << 8 * size) - 1)


OPERATIONS = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: abs(a) // abs(b) * (1 if a * b >= 0 else -1),
    "%": lambda a, b: a % b,
    "&": lambda a, b: a & b,
    "|": lambda a, b: a | b,
    "^": lambda a, b: a ^ b,
    "<<": lambda a, b: a << b,
    ">>": lambda a, b: a >> b,
    ">>>": lambda a, b: (a & MASK) >> b,
}
COMPARISONS = {
    "<": lambda a, b: a < b,
    ">": lambda a, b: a > b,
    "<=": lambda a, b: a <= b,
    ">=": lambda a, b: a >= b,
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
}


def compute(node: ast.Expr | None) -> int:
    """The value of nodes, as the language computes it."""
    if isinstance(node, ast.Number):
        return signed(node.value)
    if isinstance(node, CoreContext):
        return signed(REGISTERS[node.index] if node.kind == "reg" else BIAS + 0x40)
    if isinstance(node, CoreLoad):
        assert node.space == "user"
        return signed(load(compute(node.addr) & MASK, node.size))
    if isinstance(node, ast.Binary):
        return signed(OPERATIONS[node.op](compute(node.left), compute(node.right)))
    if isinstance(node, ast.Compare):
        return int(COMPARISONS[node.op](compute(node.left), compute(node.right)))
    if isinstance(node, ast.Unary):
        value = compute(node.operand)
        return signed({"-": -value, "~": ~value, "+": value}[node.op])
    if isinstance(node, ast.Ternary):
        return compute(node.yes) if compute(node.cond) else compute(node.no)
    raise AssertionError(node)


def frame(at_entry: bool = False) -> Frame:
    def address(there: int, tok: Token) -> ast.Expr:
        ip = CoreContext(tok=tok, type="long", kind="ip")
        return binary("+", ip, number(there - 0x40, tok), tok)

    types: object = None  # asked for typed operations and frames only
    return Frame(types, None, 0x40, at_entry, "user", address, TOK)  # type: ignore[arg-type]


def lit(value: int) -> Op:
    return Op(c.OP_LIT0 + value)


def stack(*ops: Op) -> int:
    """The value left on the stack."""
    located = locate([*ops, Op(c.OP_STACK_VALUE)], frame())
    assert not located.memory
    return compute(located.words[0])


@pytest.mark.parametrize(
    ("ops", "value"),
    [
        ([lit(5), lit(3), Op(c.OP_MINUS)], 2),
        ([lit(5), lit(3), Op(c.OP_MUL), Op(c.OP_PLUS_UCONST, 100)], 115),
        ([lit(7), Op(c.OP_NEG), lit(2), Op(c.OP_DIV)], -3),
        ([lit(7), lit(4), Op(c.OP_MOD)], 3),
        ([Op(c.OP_CONST_FIRST + 1, MASK)], -1),
        ([lit(6), lit(3), Op(c.OP_AND), lit(8), Op(c.OP_OR), lit(1), Op(c.OP_XOR)], 11),
        ([lit(1), lit(4), Op(c.OP_SHL)], 16),
        ([lit(1), Op(c.OP_NEG), lit(4), Op(c.OP_SHRA)], -1),
        ([lit(1), Op(c.OP_NEG), Op(c.OP_CONST_FIRST, 60), Op(c.OP_SHR)], 15),
        ([lit(9), Op(c.OP_NOT)], -10),
        ([lit(9), Op(c.OP_NEG), Op(c.OP_ABS)], 9),
        ([lit(1), lit(2), Op(c.OP_SWAP), Op(c.OP_MINUS)], 1),
        ([lit(1), lit(2), Op(c.OP_OVER), Op(c.OP_PLUS), Op(c.OP_PLUS)], 4),
        ([lit(1), lit(2), lit(4), Op(c.OP_ROT), Op(c.OP_MINUS), Op(c.OP_MINUS)], 5),
        ([lit(9), lit(2), lit(4), Op(c.OP_PICK, 2), Op(c.OP_PLUS)], 13),
        ([lit(5), Op(c.OP_DUP), Op(c.OP_MUL), Op(c.OP_NOP)], 25),
        ([lit(5), lit(6), Op(c.OP_DROP)], 5),
        ([lit(5), lit(6), Op(c.OP_LT)], 1),
        ([lit(5), lit(6), Op(c.OP_GE)], 0),
        ([Op(c.OP_BREG0 + 6, 8), Op(c.OP_DEREF)], 0xDEADBEEF),
        ([Op(c.OP_BREG0 + 6, 10), Op(c.OP_DEREF_SIZE, 2)], 0xDEAD),
        ([Op(c.OP_BREGX, 6, (-8) & MASK)], 0xFF8),
        ([Op(c.OP_ADDR, 0x1234)], BIAS + 0x1234),
        ([Op(c.OP_ADDRX, 3, 0, 0x1234)], BIAS + 0x1234),
    ],
)
def test_operations(ops: list[Op], value: int) -> None:
    assert stack(*ops) == value


def test_in_memory_and_in_a_register() -> None:
    where = locate([Op(c.OP_BREG0 + 7, (-16) & MASK)], frame())
    assert where.memory
    assert compute(where.words[0]) == 0x1FF0
    assert locate([Op(c.OP_REG0 + 5)], frame()).memory is False
    assert compute(locate([Op(c.OP_REGX, 5)], frame()).words[0]) == REGISTERS[5]


def test_pieces_of_registers_and_memory() -> None:
    located = locate(
        [
            *(Op(c.OP_REG0 + 5), Op(c.OP_PIECE, 4)),
            *(Op(c.OP_BREG0 + 6, 8), Op(c.OP_PIECE, 4)),
            *(Op(c.OP_REG0), Op(c.OP_PIECE, 8)),
        ],
        frame(),
    )
    assert [compute(word) & MASK for word in located.words] == [0xDEADBEEF55667788, 7]


def test_piece_across_words() -> None:
    located = locate(
        [*(Op(c.OP_REG0), Op(c.OP_PIECE, 4)), *(Op(c.OP_REG0 + 5), Op(c.OP_PIECE, 8))], frame()
    )
    assert [compute(word) & MASK for word in located.words] == [0x5566778800000007, 0x11223344]


def test_piece_of_odd_size() -> None:
    located = locate([*(Op(c.OP_BREG0 + 7, 0), Op(c.OP_PIECE, 7))], frame())
    assert compute(located.words[0]) == 0x02030405060708


def test_missing_piece() -> None:
    located = locate([Op(c.OP_PIECE, 8), *(Op(c.OP_REG0), Op(c.OP_PIECE, 8))], frame())
    assert located.words[0] is None
    assert compute(located.words[1]) == 7


def test_constants() -> None:
    assert (
        locate([Op(c.OP_IMPLICIT_VALUE, 4, 0, b"\x01\x02\x00\x00")], frame()).words[0] is not None
    )
    located: Located = constant(bytes(range(1, 13)), frame())
    assert [compute(word) for word in located.words] == [0x0807060504030201, 0x0C0B0A09]
    assert compute(constant(-5, frame()).words[0]) == -5


def test_value_at_entry() -> None:
    ops = [Op(c.OP_ENTRY_VALUE, 1, 0, [Op(c.OP_REG0 + 5)]), Op(c.OP_STACK_VALUE)]
    assert compute(locate(ops, frame(at_entry=True)).words[0]) == REGISTERS[5]
    with pytest.raises(NoLocation, match="only its value at the function's entry"):
        locate(ops, frame())


@pytest.mark.parametrize(
    ("ops", "reason"),
    [
        ([], "optimized out"),
        ([Op(c.OP_REG0 + 17)], "floating point"),
        ([lit(0), Op(c.OP_FORM_TLS_ADDRESS)], "thread-local"),
        ([Op(c.OP_IMPLICIT_POINTER, 8)], "optimized out"),
        ([lit(0), Op(c.OP_BRA, 3)], "branches"),
        ([Op(c.OP_PLUS)], "malformed"),
        ([lit(1), Op(c.OP_ROT)], "malformed"),
        ([Op(c.OP_FBREG, 8)], "frame"),
        ([Op(0x98)], "operation 0x98"),
        ([lit(1), Op(c.OP_DEREF_SIZE, 3)], "3 bytes"),
    ],
)
def test_what_cannot_be_had(ops: list[Op], reason: str) -> None:
    with pytest.raises(NoLocation, match=reason):
        locate(ops, frame())
