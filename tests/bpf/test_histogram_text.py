"""Histograms as strings: the kernel and the interpreter give the same."""

from __future__ import annotations

import random

import pytest

from pystap.backend.reference import Interpreter
from pystap.ir import ops
from pystap.ir.types import StatSpec

from .build import ModuleBuilder, ex, long_var, printf
from .harness import Loaded

MOST = (1 << 63) - 1

# Samples, and how often each.
DATA: list[list[tuple[int, int]]] = [
    [(0, 1)],
    [(1, 1), (5, 3), (6, 1), (100, 2), (100_000, 51)],
    [(-1, 4), (-1000, 2), (3, 120)],
    [(MOST, 1)],
    [(-MOST - 1, 2), (MOST, 3)],
    [(1 << n, n + 1) for n in range(0, 60, 7)],
    [(n, 1) for n in range(-40, 140, 3)],
    [(250, 1), (10, 12_345)],
]
LINEAR = [(0, 100, 10), (-50, 50, 7), (0, 1000, 1), (10, 11, 1), (-100_000, 100_000, 25_000)]


def check(kind: str, spec: StatSpec, data: list[tuple[int, int]], **limits: object) -> str:
    """The text of a histogram, from the kernel and the interpreter."""
    builder = ModuleBuilder(**limits)
    builder.pos()
    stat = builder.stat("s", spec)
    body: list[ops.Stmt] = []
    for value, times in data:
        i = long_var()
        add = ops.StatAdd(stat, [], ex(value), 0)
        step = ops.SetLocal(i, ops.Arith("+", ops.Local(i), ex(1)))
        body.append(ops.Loop(ops.Compare("<", ops.Local(i), ex(times)), [add], [step]))
    for newline in (False, True):
        text = ops.SprintHist(kind, stat, [], newline, 0)  # type: ignore[arg-type]
        body.append(printf("%s$", text))
    builder.begin(*body)
    with Loaded(builder.module) as loaded:
        loaded.run_session()
        kernel, errors = loaded.output.decode(), loaded.errors
    result = Interpreter(builder.module).run()
    assert not errors
    assert kernel == result.output.decode()
    return kernel


@pytest.mark.parametrize("data", DATA)
def test_log(data: list[tuple[int, int]]) -> None:
    text = check("log", StatSpec({"hist_log"}), data, maxstringlen=16_000)
    assert "value |" in text
    assert text.endswith("\n\n\n$")


@pytest.mark.parametrize("shape", LINEAR)
@pytest.mark.parametrize("data", DATA[:3] + DATA[6:])
def test_linear(shape: tuple[int, int, int], data: list[tuple[int, int]]) -> None:
    check("linear", StatSpec({"hist_linear"}, linear=shape), data, maxstringlen=16_000)


@pytest.mark.parametrize("limit", [2, 40, 512])
def test_cut(limit: int) -> None:
    check("log", StatSpec({"hist_log"}), DATA[1], maxstringlen=limit)


@pytest.mark.parametrize(("width", "elision"), [(1, 0), (10, 1), (200, -1), (50, 1000)])
def test_options(width: int, elision: int) -> None:
    limits = {"hist_width": width, "hist_elision": elision, "maxstringlen": 16_000}
    spec = StatSpec({"hist_log", "hist_linear"}, linear=(0, 200, 3))
    for kind in ("log", "linear"):
        check(kind, spec, DATA[1], **limits)


def test_random() -> None:
    rng = random.Random(7)
    for _ in range(8):
        data = [(rng.randint(-30, 300), rng.randint(1, 99)) for _ in range(rng.randint(1, 9))]
        check("linear", StatSpec({"hist_linear"}, linear=(0, 256, 8)), data, maxstringlen=8000)


def test_no_sample_is_an_error() -> None:
    builder = ModuleBuilder()
    builder.pos()
    stat = builder.stat("s", StatSpec({"hist_log"}))
    builder.begin(printf("%s", ops.SprintHist("log", stat, [], False, 0)))
    with Loaded(builder.module) as loaded:
        loaded.run_session()
        assert loaded.output == b""
        assert loaded.errors == ["empty aggregate near operator '/' at <input>:1:1"]
        assert sum(loaded.verified()) < 25_000
