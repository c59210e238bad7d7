"""The IR builder: what it builds computes the same natively, in the kernel, and in Python."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from pystap.backend.llvm.builder import BuildError, FunctionBuilder, Module, Value
from pystap.backend.llvm.values import constant

from .machines import build, run_bpf, run_native

U64 = (1 << 64) - 1


def to_signed(value: int, bits: int = 64) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def truncated(a: int, b: int) -> int:
    quotient = abs(a) // abs(b)
    return -quotient if (a < 0) != (b < 0) else quotient


BINARY: dict[str, tuple[Callable[[Value, Value], Value], Callable[[int, int], int]]] = {
    "add": (lambda a, b: a + b, lambda a, b: a + b),
    "sub": (lambda a, b: a - b, lambda a, b: a - b),
    "mul": (lambda a, b: a * b, lambda a, b: a * b),
    "and": (lambda a, b: a & b, lambda a, b: a & b),
    "or": (lambda a, b: a | b, lambda a, b: a | b),
    "xor": (lambda a, b: a ^ b, lambda a, b: a ^ b),
    "shl": (lambda a, b: a << (b & 63), lambda a, b: a << (b & 63)),
    "lshr": (lambda a, b: a >> (b & 63), lambda a, b: a >> (b & 63)),
    "sar": (lambda a, b: a.sar(b & 63), lambda a, b: to_signed(a) >> (b & 63)),
    "udiv": (lambda a, b: a // (b | 1), lambda a, b: a // (b | 1)),
    "urem": (lambda a, b: a % (b | 1), lambda a, b: a % (b | 1)),
    "sdiv": (lambda a, b: a.sdiv(b | 1), lambda a, b: truncated(to_signed(a), to_signed(b | 1))),
    "srem": (
        lambda a, b: a.srem(b | 1),
        lambda a, b: to_signed(a) - to_signed(b | 1) * truncated(to_signed(a), to_signed(b | 1)),
    ),
    "not": (lambda a, b: ~a, lambda a, b: ~a),
    "neg": (lambda a, b: -a, lambda a, b: -a),
    "rsub": (lambda a, b: 7 - a, lambda a, b: 7 - a),
    "eq": (lambda a, b: a.eq(b).zext("i64"), lambda a, b: a == b),
    "ne": (lambda a, b: a.ne(b).zext("i64"), lambda a, b: a != b),
    "ult": (lambda a, b: a.ult(b).zext("i64"), lambda a, b: a < b),
    "ule": (lambda a, b: a.ule(b).zext("i64"), lambda a, b: a <= b),
    "ugt": (lambda a, b: a.ugt(b).zext("i64"), lambda a, b: a > b),
    "uge": (lambda a, b: a.uge(b).zext("i64"), lambda a, b: a >= b),
    "slt": (lambda a, b: a.slt(b).zext("i64"), lambda a, b: to_signed(a) < to_signed(b)),
    "sle": (lambda a, b: a.sle(b).zext("i64"), lambda a, b: to_signed(a) <= to_signed(b)),
    "sgt": (lambda a, b: a.sgt(b).zext("i64"), lambda a, b: to_signed(a) > to_signed(b)),
    "sge": (lambda a, b: a.sge(b).zext("i64"), lambda a, b: to_signed(a) >= to_signed(b)),
    "bswap": (
        lambda a, b: a.b.bswap(a),
        lambda a, b: int.from_bytes(a.to_bytes(8, "little"), "big"),
    ),
    "bswap32": (
        lambda a, b: a.b.bswap(a.trunc("i32")).zext("i64"),
        lambda a, b: int.from_bytes((a & 0xFFFFFFFF).to_bytes(4, "little"), "big"),
    ),
    "sext": (lambda a, b: a.trunc("i16").sext("i64"), lambda a, b: to_signed(a, 16)),
    "zext": (lambda a, b: a.trunc("i8").zext("i64"), lambda a, b: a & 0xFF),
    "select": (
        lambda a, b: a.b.select(a.slt(b), a, 5),
        lambda a, b: a if to_signed(a) < to_signed(b) else 5,
    ),
}
CASES = [(0, 0), (1, 1 << 63), (1 << 63, U64), (U64, U64), (5, 3), (U64 - 4, 3), (12345, 0)]


@pytest.mark.parametrize("run", [run_native, run_bpf])
def test_operators(run: Callable[..., tuple[int, list[int]]]) -> None:
    names = list(BINARY)

    def body(b: FunctionBuilder) -> None:
        x, y = b.load("i64", b.args[0]), b.load("i64", b.args[0], 8)
        for index, name in enumerate(names):
            b.store(BINARY[name][0](x, y), b.args[0], 16 + 8 * index, volatile=True)
        b.ret(0)

    module = build("x86_64" if run is run_native else "bpf", body)
    rng = random.Random(7)
    pairs = [
        *CASES,
        *((rng.getrandbits(64), rng.getrandbits(rng.randrange(1, 65))) for _ in range(8)),
    ]
    for x, y in pairs:
        _, words = run(module, [x, y, *[0] * len(names)])
        got = dict(zip(names, words[2:]))
        assert got == {name: BINARY[name][1](x, y) & U64 for name in names}, (x, y)


def control_flow(b: FunctionBuilder) -> None:
    """Sums multiples in nested loops with break, continue, switch and early return."""
    ctx = b.args[0]
    n = b.load("i64", ctx)
    total = b.var("i64", 0)
    with b.for_range(0, 12) as i:
        with b.if_(i.eq(n)):
            b.break_()
        with b.if_((i & 1).eq(0)):
            b.continue_()
        j = b.var("i64", 0)
        with b.while_(lambda: j.get().ult(4)):
            j.add(1)
            with b.switch(j.get()) as sw:
                with sw.case(1):
                    total.add(1)
                with sw.case(2, 3):
                    with b.if_(i.ugt(8)):
                        b.continue_()
                    total.add(10)
                with sw.default():
                    b.break_()
        with b.if_else(i.ugt(5)) as (then, orelse):
            with then:
                total.add(1000)
            with orelse:
                total.add(100)
    with b.loop():
        total.add(1)
        with b.if_((total.get() & 7).eq(0)):
            b.break_()
    b.store(total.get(), ctx, 8)
    with b.if_else(total.get().ugt(2000)) as (then, orelse):
        with then:
            b.ret(1)
        with orelse:
            b.ret(2)


def control_flow_model(n: int) -> tuple[int, int]:
    total = 0
    for i in range(min(n, 12)):
        if i % 2:
            total += 1 + (20 if i <= 8 else 0)
            total += 1000 if i > 5 else 100
    total += 8 - total % 8
    return (1 if total > 2000 else 2), total


@pytest.mark.parametrize("n", [0, 1, 2, 7, 12, 100])
def test_control_flow(n: int) -> None:
    expected, total = control_flow_model(n)
    for level in (0, 2):
        assert run_native(build("x86_64", control_flow), [n, 0], level) == (expected, [n, total])
    assert run_bpf(build("bpf", control_flow), [n, 0]) == (expected, [n, total])


def test_copies_and_addresses() -> None:
    def body(b: FunctionBuilder) -> None:
        ctx = b.args[0]
        space = b.alloca("[64 x i8]", align=8)
        b.memset(space, 0x5A, 64, align=8)
        b.memcpy(space + 8, b.data(b'read only\0\xff"\\%'), 14)
        index = b.load("i64", ctx) & 3
        b.store(b.load("i64", space, 8), ctx, 8)
        b.store(b.load("i64", b.at(space, 0, index, scale=8), volatile=True), ctx, 16)
        b.store(b.load("i16", b.at(space, 20)).zext("i64"), ctx, 24)
        b.store(b.load("i64", b.at(space, index, 3)), ctx, 32, align=8)
        b.ret(0)

    image = b"Z" * 8 + b'read only\0\xff"\\%' + b"Z" * 42
    expected = [2, *(int.from_bytes(image[i : i + 8], "little") for i in (8, 16))]
    expected += [int.from_bytes(image[20:22], "little"), int.from_bytes(image[5:13], "little")]
    assert run_native(build("x86_64", body), [2, 0, 0, 0, 0])[1] == expected


def test_atomics() -> None:
    def body(b: FunctionBuilder) -> None:
        word = b.alloca("i64")
        b.store(100, word)
        olds = [
            b.atomic_rmw("add", word, 5),
            b.atomic_rmw("or", word, 0x100),
            b.atomic_rmw("and", word, 0x1F1),
            b.atomic_rmw("xor", word, 0xFF),
            b.atomic_rmw("xchg", word, 42),
            b.cmpxchg(word, 41, 1),
            b.cmpxchg(word, 42, 77),
        ]
        b.atomic_rmw("add", word, 1, order="monotonic")
        for index, value in enumerate([*olds, b.load("i64", word)]):
            b.store(value, b.args[0], 8 * index)
        b.ret(0)

    expected = [100, 105, 0x169, 0x161, 0x19E, 42, 42, 78]
    assert run_native(build("x86_64", body), [0] * 8)[1] == expected
    assert run_bpf(build("bpf", body), [0] * 8)[1] == expected


def test_calls_functions_once_and_forward() -> None:
    def make_square(m: Module) -> None:
        with m.function(
            "square", "i64", [("i64", "x")], linkage="internal", attrs=["noinline"]
        ) as f:
            f.ret(f.args[0] * f.args[0])

    def body(b: FunctionBuilder) -> None:
        b.m.require("square", make_square)
        assert b.m.require("square", make_square) == "square"
        b.m.forward("later", "i64", ["i64", "i32"])
        value = b.call("square", b.load("i64", b.args[0]))
        b.ret(b.call("later", value, 3))

    for target, run in (("x86_64", run_native), ("bpf", run_bpf)):
        module = build(target, body)
        with module.function(
            "later", "i64", [("i64", "x"), ("i32", "y")], attrs=["noinline"]
        ) as b:
            b.ret(b.args[0] - b.args[1].zext("i64"))
        assert run(module, [9])[0] == 78


def test_phi_and_pointers() -> None:
    def body(b: FunctionBuilder) -> None:
        ctx = b.args[0]
        before = b.block
        small = b.load("i64", ctx).ult(10)
        with b.if_(small):
            inside = b.block
        merged = b.phi("i64", (1, before), (2, inside))
        b.store((ctx.to_int() + 8).to_ptr().ne(0).zext("i64"), ctx, 8)
        b.ret(merged)

    assert run_native(build("x86_64", body), [5, 0]) == (2, [5, 1])
    assert run_native(build("x86_64", body), [50, 0]) == (1, [50, 1])


def test_loops_do_not_become_library_calls() -> None:
    """Without care LLVM makes memset and memcpy of these, which ends the process for BPF."""

    def body(b: FunctionBuilder) -> None:
        space = b.alloca("[256 x i8]", align=8)
        n = b.load("i64", b.args[0]) & 31
        with b.for_range(0, n) as i:
            b.store(0, b.at(space, 0, i, scale=8))
        with b.for_range(0, n) as i:
            b.store(b.load("i8", b.at(b.args[0], i)), b.at(space, 8, i))
        b.store(b.load("i64", b.at(space, 0, n, scale=8), volatile=True), b.args[0])
        b.ret(0)

    for target in ("bpf", "x86_64"):
        from pystap.backend.llvm import binding

        triple = binding.BPF_TRIPLE if target == "bpf" else binding.X86_TRIPLE
        cpu = "v3" if target == "bpf" else "x86-64"
        text = binding.optimized_ir(build(target, body).text(), triple, cpu)
        assert "memset" not in text
        assert "memcpy" not in text


def _mix(b: FunctionBuilder) -> None:
    b.const("i32", 1) + b.const("i64", 1)


def _too_many(b: FunctionBuilder) -> None:
    b.m.function("g", "i64", [("i64", f"a{i}") for i in range(6)])


def _two_signatures(b: FunctionBuilder) -> None:
    b.m.forward("g", "i64", ["i64"])
    b.m.forward("g", "i64", ["ptr"])


def _one_arm(b: FunctionBuilder) -> None:
    with b.if_else(b.const("i1", 1)) as (then, _), then:
        pass


def _condition(b: FunctionBuilder) -> None:
    if b.const("i64", 1):
        b.ret(1)


def _both_defaults(b: FunctionBuilder) -> None:
    with b.switch(b.const("i64", 1)) as sw:
        with sw.default():
            pass
        with sw.default():
            pass


MISTAKES: dict[str, tuple[Callable[[FunctionBuilder], object], str]] = {
    "types": (_mix, "i64 1 where i32 is needed"),
    "arguments": (_too_many, "more than 5 arguments need alwaysinline"),
    "signatures": (_two_signatures, "two signatures"),
    "arm": (_one_arm, "needs both arms"),
    "python if": (_condition, "used as Python condition"),
    "defaults": (_both_defaults, "two defaults"),
    "no ret": (lambda b: None, "reaches the end without ret"),
    "ret type": (lambda b: b.ret(b.null()), "ptr null where i64 is needed"),
    "no value": (lambda b: b.ret(), "ret without value"),
    "break": (lambda b: b.break_(), "outside a loop"),
    "unknown": (lambda b: b.call("nothing"), "unknown function nothing"),
    "count": (lambda b: b.call("f"), "takes 1 arguments, not 0"),
    "copy": (lambda b: b.memcpy(b.args[0], b.args[0], 2000, align=8), "at most 1024"),
    "copy bytes": (lambda b: b.memset(b.args[0], 0, 200), "at most 128"),
    "copy unknown": (lambda b: b.memset(b.args[0], 0, b.load("i64", b.args[0])), "known bytes"),
    "address": (lambda b: b.load("i64", b.const("i64", 8)), "used as address"),
    "atomic": (lambda b: b.atomic_rmw("add", b.args[0], 1, ty="i8"), "atomic operation on i8"),
    "acquire": (lambda b: b.load_acquire("i64", b.args[0]), "not available for BPF"),
    "writable": (lambda b: b.m.global_("x", b"1", constant=False), "data in maps"),
    "if": (lambda b: b.if_(b.const("i64", 1)).__enter__(), "condition of type i64"),
    "twice": (lambda b: (b.m.function("g", "i64"), b.m.function("g", "i64")), "defined twice"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_reported(name: str) -> None:
    body, message = MISTAKES[name]
    with pytest.raises(BuildError, match=message):
        build("bpf", body)


@pytest.mark.parametrize(
    ("value", "ty", "text"),
    [
        (U64, "i64", "-1"),
        (1 << 63, "i64", "-9223372036854775808"),
        (255, "i8", "-1"),
        (1, "i1", "1"),
        (0, "ptr", "null"),
        (16, "ptr", "inttoptr (i64 16 to ptr)"),
        (1 << 64, "i64", "0"),
    ],
)
def test_constants(value: int, ty: str, text: str) -> None:
    assert constant(value, ty) == text
