"""Modules cut into parts: each compiles alone, and linked they are the program they were."""

from __future__ import annotations

import pytest

from pystap.backend.llvm import binding
from pystap.backend.llvm.builder import FunctionBuilder, Module
from pystap.backend.llvm.object import BpfObject, LinkError
from pystap.backend.llvm.split import split

from .machines import run_object

WORDS = 12


def chain() -> Module:
    """Functions that call one another, with a callback, an inlined function and data."""
    m = Module("bpf")
    with m.function(
        "double", "i64", [("i64", "x")], linkage="internal", attrs=["alwaysinline"]
    ) as b:
        b.ret(b.args[0] * 2)
    with m.function("step", "i64", [("i64", "i"), ("ptr", "to")], linkage="internal") as b:
        word = b.load("ptr", b.args[1])
        b.store(b.load("i64", word) + b.call("double", b.args[0]), word)
        b.ret(0)
    for i in range(WORDS):
        with m.function(
            f"add.{i}", "i64", [("i64", "x")], linkage="weak", attrs=["noinline"]
        ) as b:
            known = b.data(bytes([i]) * 8)
            at = b.barrier(b.args[0]) & 7
            b.ret(b.call("double", b.load("i8", b.at(known, at)).zext("i64")))
    with m.function("f", "i64", [("ptr", "ctx")]) as b:
        _main(b)
    return m


def _main(b: FunctionBuilder) -> None:
    for i in range(WORDS):
        b.store(b.call(f"add.{i}", i), b.args[0], 8 * i)
    total = b.alloca("i64")
    b.store(0, total)
    where = b.alloca("ptr")
    b.store(total, where)
    b.helper(181, "i64", b.const("i32", 5), b.symbol("step"), where, 0)
    b.ret(b.load("i64", total))


@pytest.mark.parametrize("parts", [1, 2, 3, 100])
def test_the_parts_make_up_the_program(parts: int) -> None:
    texts = split(chain().text(), parts)
    assert len(texts) == min(parts, WORDS + 2)
    result, words = run_object(BpfObject(*map(binding.compile_object, texts)), [0] * WORDS)
    assert (result, words) == (20, [2 * i for i in range(WORDS)])


def test_a_missing_part_is_noticed() -> None:
    objects = [binding.compile_object(text) for text in split(chain().text(), 3)]
    obj = BpfObject(*objects[:1], *objects[2:])
    with pytest.raises(LinkError, match=r"not defined|no function f"):
        obj.link("f")


def test_parts_are_about_as_large() -> None:
    sizes = [len(text) for text in split(chain().text(), 2)]
    assert max(sizes) < 1.5 * min(sizes)
