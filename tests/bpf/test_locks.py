"""Locks of globals, and updates that need none, with two CPUs at work."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import struct
from collections.abc import Callable

from pystap.backend.bpf import artifact as a
from pystap.ir import ops
from pystap.ir.types import StatSpec
from pystap.probes.attach import SyscallEvent

from .build import (
    LONG,
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
from .harness import Loaded

# System calls that no longer exist, so that nobody but the test makes them.
WRITE, READ = 174, 178
ROUNDS = 20_000
WRITER = -(1 << 63)

_syscall = ctypes.CDLL(None).syscall


def enter(number: int) -> SyscallEvent:
    return SyscallEvent("enter", (number,))


def both_cpus(work: Callable[[], object]) -> None:
    """Run ``work`` on every CPU at once."""

    def bound(cpu: int) -> None:
        os.sched_setaffinity(0, {cpu})
        work()

    workers = [multiprocessing.Process(target=bound, args=(cpu,)) for cpu in (0, 1)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0


def hammer() -> None:
    for i in range(ROUNDS):
        _syscall(WRITE, i)
        _syscall(READ, i)


def lock_words(loaded: Loaded, name: str) -> tuple[int, int]:
    """State of a lock, and how often it could not be had."""
    slot = loaded.artifact.locks.index(name)
    data = loaded.by_role["locks"].lookup(bytes(4))
    assert data is not None
    state, skipped = struct.unpack_from("<qq", data, slot * a.LOCK_STRIDE)
    return state, skipped


def hold(loaded: Loaded, name: str, state: int) -> None:
    """Set the state of a lock, as some other CPU would have."""
    locks = loaded.by_role["locks"]
    data = bytearray(locks.lookup(bytes(4)) or b"")
    struct.pack_into("<q", data, loaded.artifact.locks.index(name) * a.LOCK_STRIDE, state)
    locks.update(bytes(4), bytes(data))


def test_writers_and_readers_on_two_cpus() -> None:
    m = ModuleBuilder()
    one, two, torn = m.scalar("one"), m.scalar("two"), m.scalar("torn")
    x, y = long_var("x"), long_var("y")
    steps = [let(x, one), let(y, two), let(two, arith(y, "+", 1)), let(one, arith(x, "+", 1))]
    m.probe(enter(WRITE), ops.Locked([(one, "write"), (two, "write")], steps))
    differ = ops.If(compare(one, "!=", two), [ops.AddGlobal(torn, ex(1))])
    m.probe(enter(READ), ops.Locked([(one, "read"), (two, "read")], [differ]))
    with Loaded(m.module) as loaded:
        loaded.during(lambda: both_cpus(hammer))
        skipped = loaded.context_word(a.CONTEXT_SKIP_LOCK) + loaded.missed()
        assert loaded.word("one") == loaded.word("two")
        assert 2 * ROUNDS - skipped <= loaded.word("one") <= 2 * ROUNDS
        assert loaded.word("torn") == 0
        assert lock_words(loaded, "one")[0] == 0
        assert lock_words(loaded, "two")[0] == 0


def test_elements_created_on_two_cpus_at_once() -> None:
    m = ModuleBuilder()
    counts = m.array("counts", (LONG,), capacity=512)
    stats = m.array("stats", (LONG,), capacity=512, stats=StatSpec({"count", "max"}))
    key = keys(arith(ops.ContextValue("sysarg"), "%", 500))
    m.probe(enter(WRITE), ops.AddMap(counts, key, ex(1), 0))
    m.probe(enter(READ), ops.StatAdd(stats, key, ops.ContextValue("sysarg"), 0))
    k, total, samples = long_var("k"), long_var("total"), long_var("samples")
    loop = ops.Foreach(
        counts, [k], None, None, 0, 0, "count", None,
        [
            let(total, arith(total, "+", ops.MapGet(counts, keys(k)))),
            let(samples, arith(samples, "+", ops.StatGet("count", stats, keys(k), 0))),
        ],
    )  # fmt: skip
    m.begin(loop, printf("%d %d\n", total, samples))
    with Loaded(m.module) as loaded:
        loaded.during(lambda: both_cpus(hammer))
        loaded.run_session()
        counts_made, samples_made = map(int, loaded.output.split())
        least = 2 * ROUNDS - loaded.missed()
        assert least <= counts_made <= 2 * ROUNDS
        assert least <= samples_made <= 2 * ROUNDS


class TestContention:
    """What happens when a lock is held by somebody else, and who shares it."""

    def module(self, mode: ops.LockMode) -> ModuleBuilder:
        m = ModuleBuilder(maxtrylock=10, trylockdelay=10)
        m.pos()
        one, two = m.scalar("one"), m.scalar("two")
        body = [printf("ran\n")]
        m.begin(ops.Locked([(one, "write"), (two, mode)], body))
        return m

    def test_a_lock_that_is_held_skips_the_handler(self) -> None:
        with Loaded(self.module("write").module) as loaded:
            hold(loaded, "two", WRITER)
            loaded.run(0)
            assert loaded.output == b""
            assert loaded.errors == []
            assert loaded.context_word(a.CONTEXT_SKIP_LOCK) == 1
            assert lock_words(loaded, "one") == (0, 0)  # given back
            assert lock_words(loaded, "two") == (WRITER, 0)  # the session would try again
            hold(loaded, "two", 0)
            loaded.run(0)
            assert loaded.output == b"ran\n"

    def test_who_shares_with_whom(self) -> None:
        allowed = {
            ("read", 1): True, ("read", -1): False, ("read", WRITER): False,
            ("update", -1): True, ("update", 1): False, ("update", WRITER): False,
            ("write", 1): False, ("write", -1): False, ("write", WRITER): False,
        }  # fmt: skip
        modes: tuple[ops.LockMode, ...] = ("read", "update", "write")
        for mode in modes:
            with Loaded(self.module(mode).module) as loaded:
                for state in (1, -1, WRITER):
                    loaded.output = b""
                    hold(loaded, "two", state)
                    loaded.run(0)
                    ran = loaded.output == b"ran\n"
                    assert ran == allowed[mode, state], (mode, state)
                    assert lock_words(loaded, "two")[0] == state


class TestRelease:
    """Locks are given back whatever way the region is left."""

    def check(self, *body: ops.Stmt, build: ModuleBuilder) -> None:
        var = build.scalar("locked")
        build.begin(ops.Loop(ex(1), [ops.Locked([(var, "write")], list(body)), ops.Break()]))
        with Loaded(build.module) as loaded:
            loaded.run(0)
            assert lock_words(loaded, "locked") == (0, 0)
            assert loaded.context_word(a.CONTEXT_BUSY) == 0

    def test_error(self) -> None:
        m = ModuleBuilder(maxerrors=5)
        self.check(let(long_var(), arith(1, "/", 0, m.pos())), build=m)

    def test_next(self) -> None:
        self.check(ops.Next(), build=ModuleBuilder())

    def test_break(self) -> None:
        self.check(ops.Break(), build=ModuleBuilder())

    def test_return(self) -> None:
        self.check(ops.Return(), build=ModuleBuilder())

    def test_abort(self) -> None:
        self.check(ops.Eval(intrinsic("abort")), build=ModuleBuilder())
