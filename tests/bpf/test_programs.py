"""Entering and leaving handlers: budgets, skipped hits, output records, errors."""

from __future__ import annotations

import ctypes
import struct

import pytest

from pystap.backend.bpf import artifact as a
from pystap.ir import ops
from pystap.ir.types import StatSpec
from pystap.output import records
from pystap.probes.attach import SyscallEvent, Tracepoint

from .build import (
    LONG,
    STR,
    ModuleBuilder,
    arith,
    compare,
    ex,
    intrinsic,
    keys,
    let,
    long_var,
    printf,
)
from .harness import RING, Loaded, output_of

# System calls that no longer exist, so that nobody but the test makes them.
FIRST, SECOND, THIRD = 174, 178, 134

_syscall = ctypes.CDLL(None).syscall


def call(number: int, *args: int) -> None:
    """Make a system call."""
    _syscall(number, *(ctypes.c_long(arg) for arg in args))


def enter(*numbers: int) -> SyscallEvent:
    return SyscallEvent("enter", numbers)


def count_to(limit: int, *body: ops.Stmt) -> ops.Loop:
    i = long_var("i")
    return ops.Loop(compare(i, "<", limit), list(body), [let(i, arith(i, "+", 1))])


class TestBudgets:
    """Instructions the verifier looks at, so that start-up and loading stay fast."""

    def test_hello_world(self) -> None:
        m = ModuleBuilder()
        m.begin(printf("hello world\n"), ops.Eval(intrinsic("exit")))
        with Loaded(m.module) as loaded:
            assert loaded.verified()[0] <= 500

    def test_keyed_aggregate(self) -> None:
        m = ModuleBuilder()
        spec = StatSpec({"count", "sum", "min", "max", "avg", "hist_log"})
        hist = m.array("a", (LONG, STR), key_bounds=(0, 16), stats=spec)
        key = keys(intrinsic("pid"), intrinsic("execname"))
        m.probe(enter(FIRST), ops.StatAdd(hist, key, ops.ContextValue("sysarg"), 0))
        with Loaded(m.module) as loaded:
            assert loaded.verified()[0] <= 1000

    def test_a_counter_takes_a_few_instructions(self) -> None:
        m = ModuleBuilder()
        count = m.scalar("c")
        m.probe(enter(FIRST), ops.AddGlobal(count, ex(1)))
        with Loaded(m.module) as loaded:
            assert loaded.verified()[0] <= 30


class TestEntry:
    def test_a_busy_context_skips_the_hit(self) -> None:
        m = ModuleBuilder()
        x = long_var()
        probe = m.begin(let(x, 1), printf("%d\n", x))
        with Loaded(m.module) as loaded:
            contexts = loaded.by_role["context"]
            for index in range(contexts.max_entries):
                data = bytearray(contexts.lookup(struct.pack("<I", index)) or b"")
                struct.pack_into("<Q", data, 8 * a.CONTEXT_BUSY, 1)
                contexts.update(struct.pack("<I", index), bytes(data))
            loaded.run(probe)
            assert loaded.output == b""
            assert loaded.context_word(a.CONTEXT_SKIP_REENTRANT) == 1

    def test_ordinary_probes_wait_for_the_session(self) -> None:
        m = ModuleBuilder()
        count = m.scalar("c")
        m.probe(enter(FIRST), ops.AddGlobal(count, ex(1)))
        with Loaded(m.module) as loaded:
            for state in (a.STATE_STARTING, a.STATE_STOPPING, a.STATE_ERROR):
                loaded.words[a.CONTROL_STATE] = state
                loaded.during(lambda: call(FIRST))
            assert loaded.word("c") == 0
            loaded.words[a.CONTROL_STATE] = a.STATE_RUNNING
            loaded.during(lambda: call(FIRST))
            assert loaded.word("c") == 1

    def test_a_condition_is_asked_at_every_hit(self) -> None:
        m = ModuleBuilder()
        count, armed = m.scalar("c"), m.scalar("armed")
        index = m.probe(enter(FIRST), ops.AddGlobal(count, ex(1)))
        m.module.conditions.append(compare(armed, "!=", 0))
        m.module.probes[index] = m.module.probes[index]._replace(condition=0)
        m.probe(enter(SECOND), let(armed, arith(1, "-", armed)))

        def calls() -> None:
            for _ in range(3):
                call(FIRST)
                call(SECOND)

        with Loaded(m.module) as loaded:
            loaded.during(calls)
            assert loaded.word("c") == 1

    def test_exit_stops_ordinary_probes(self) -> None:
        m = ModuleBuilder()
        x = long_var()
        m.probe(enter(FIRST), let(x, 1), printf("once\n"), ops.Eval(intrinsic("exit")))
        with Loaded(m.module) as loaded:
            loaded.during(lambda: [call(FIRST) for _ in range(3)])
            assert loaded.output == b"once\n"
            assert loaded.controls == [records.ExitItem()]
            assert loaded.words[a.CONTROL_STATE] == a.STATE_STOPPING


class TestSystemCalls:
    def test_handlers_of_one_call_run_in_order(self) -> None:
        m = ModuleBuilder()
        m.probe(enter(FIRST), printf("first\n"))
        m.probe(enter(FIRST, SECOND), printf("second %d\n", ops.ContextValue("sysnr")))
        m.probe(enter(SECOND), printf("third\n"))
        m.probe(SyscallEvent("exit", (SECOND,)), printf("left %d\n", ops.ContextValue("sysret")))

        def calls() -> None:
            call(FIRST)
            call(SECOND)

        with Loaded(m.module) as loaded:
            loaded.during(calls)
            assert loaded.output == b"first\nsecond 174\nsecond 178\nthird\nleft -38\n"

    def test_probes_that_share_a_handler_are_told_apart(self) -> None:
        m = ModuleBuilder()
        body = printf("%s\n", intrinsic("pp"))
        first = m.probe(enter(FIRST), body, point="the first")
        handler = m.module.probes[first].handler
        for number in range(178, 182):
            probe = m.module.probes[first]
            m.module.probes.append(
                probe._replace(point=f"number {number}", attach=enter(number), handler=handler)
            )
        with Loaded(m.module) as loaded:
            loaded.during(lambda: (call(SECOND), call(FIRST), call(180)))
            assert loaded.output == b"number 178\nthe first\nnumber 180\n"

    def test_every_call(self) -> None:
        m = ModuleBuilder()
        count = m.scalar("c")
        mine = compare(ops.ContextValue("sysnr"), "==", FIRST)
        m.probe(enter(), ops.If(mine, [ops.AddGlobal(count, ex(1))]))
        with Loaded(m.module) as loaded:
            loaded.during(lambda: [call(FIRST) for _ in range(100)])
            assert loaded.word("c") == 100

    def test_arguments(self) -> None:
        m = ModuleBuilder()
        values = [ops.ContextValue("sysarg", i) for i in range(3)]
        m.probe(enter(FIRST), printf("%d %d %d\n", *values))
        with Loaded(m.module) as loaded:
            loaded.during(lambda: call(FIRST, 5, -7, 1 << 40))
            assert loaded.output == b"5 -7 %d\n" % (1 << 40)


class TestOutput:
    def test_much_output_of_one_handler_stays_together(self) -> None:
        m = ModuleBuilder(time_limits=False)
        i = long_var("i")
        loop = ops.Loop(
            compare(i, "<", 3000),
            [printf("line %d %s\n", i, "x" * 40)],
            [let(i, arith(i, "+", 1))],
        )
        m.begin(loop)
        output, errors = output_of(m.module)
        assert output == b"".join(b"line %d %s\n" % (n, b"x" * 40) for n in range(3000))
        assert errors == []

    def test_records_that_do_not_fit_are_counted(self) -> None:
        m = ModuleBuilder(time_limits=False)
        m.begin(count_to(RING // 100, printf("%s\n", "x" * 100)))
        with Loaded(m.module) as loaded:
            loaded.run(0)
            lost = loaded.words[a.CONTROL_LOST]
            assert lost > 0
            assert loaded.output.count(b"\n") < RING // 100

    def test_strings_of_every_length_in_one_item(self) -> None:
        m = ModuleBuilder()
        texts = ["a" * n for n in range(18)]
        m.begin(printf("%s|" * 18 + "%d\n", *texts, 42))
        output, _ = output_of(m.module)
        assert output == "|".join(texts).encode() + b"|42\n"


class TestErrors:
    def test_too_many_errors_end_the_session(self) -> None:
        m = ModuleBuilder(maxerrors=1)
        probe = m.begin(printf("%d\n", arith(1, "/", 0, m.pos())))
        with Loaded(m.module) as loaded:
            loaded.run(probe)
            assert loaded.words[a.CONTROL_STATE] == a.STATE_RUNNING
            loaded.run(probe)
            assert loaded.words[a.CONTROL_STATE] == a.STATE_ERROR
            assert loaded.words[a.CONTROL_ERRORS] == 2
            assert len(loaded.errors) == 2

    def test_suppressed_errors_are_counted_apart(self) -> None:
        m = ModuleBuilder(suppress_handler_errors=True)
        probe = m.begin(printf("%d\n", arith(1, "/", 0, m.pos())))
        with Loaded(m.module) as loaded:
            loaded.run(probe)
            assert loaded.words[a.CONTROL_STATE] == a.STATE_RUNNING
            assert loaded.words[a.CONTROL_ERRORS] == 0
            assert loaded.errors == []
            assert loaded.context_word(a.CONTEXT_ERRORS) == 1

    def test_an_error_without_context_is_reported(self) -> None:
        m = ModuleBuilder()
        table = m.array("a", (LONG,), capacity=1, declared=True)
        pos = m.pos("identifier 'a'")
        m.probe(enter(FIRST), ops.AddMap(table, keys(ops.ContextValue("sysnr")), ex(1), pos))
        m.probe(enter(SECOND), ops.AddMap(table, keys(ops.ContextValue("sysnr")), ex(1), pos))
        with Loaded(m.module) as loaded:
            loaded.during(lambda: (call(FIRST), call(SECOND)))
            assert loaded.errors == [
                "Array overflow, check size limit (1) near identifier 'a' at <input>:1:1"
            ]
            item = loaded.controls[0]
            assert isinstance(item, records.ErrorItem)
            assert item.probe == 1
            assert loaded.words[a.CONTROL_STATE] == a.STATE_ERROR

    def test_output_before_an_error_is_kept(self) -> None:
        m = ModuleBuilder()
        m.begin(printf("before\n"), printf("%d\n", arith(1, "%", 0, m.pos())), printf("after\n"))
        output, errors = output_of(m.module)
        assert output == b"before\n"
        assert errors == ["division by 0 near operator '/' at <input>:1:1"]


def test_a_tracepoint_program_serves_many_probes() -> None:
    m = ModuleBuilder()
    body = printf("%s\n", intrinsic("pp"))
    mine = compare(ops.ContextValue("arg", 1), "==", FIRST)
    first = m.probe(Tracepoint("sys_enter", 2), ops.If(mine, [body]), point="one")
    probe = m.module.probes[first]
    m.module.probes.append(probe._replace(point="two", attach=Tracepoint("sched_switch", 4)))
    with Loaded(m.module) as loaded:
        codes = {spec.insns for spec in loaded.artifact.programs}
        assert len(codes) == 2  # alike but for the number of the probe
        loaded.during(lambda: call(FIRST))
        assert loaded.output == b"one\n"


@pytest.mark.parametrize("value", [0, -1, 1 << 62])
def test_globals_begin_with_their_values(value: int) -> None:
    m = ModuleBuilder()
    number, text = m.scalar("n", init=value), m.scalar("t", STR, init="text")
    m.begin(printf("%d %s\n", number, text))
    assert output_of(m.module) == (b"%d text\n" % value, [])
