"""The checker finds every kind of damage."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pystap.ir import ops
from pystap.ir.check import check
from pystap.ir.module import Function, Handler, Module, Position, Probe
from pystap.ir.types import Global, LocalVar, StatSpec, Ty
from pystap.output.formats import Directive, Format
from pystap.probes.attach import SessionEvent, Tracepoint


class Sample:
    """A correct module with a bit of everything, to be damaged."""

    def __init__(self) -> None:
        self.c = Global("c", 0, "scalar", (), Ty.LONG)
        self.s = Global("s", 1, "scalar", (), Ty.STR, bound=8)
        self.a = Global(
            "a", 2, "array", (Ty.LONG, Ty.STR), Ty.LONG, key_bounds=(0, 16), capacity=10
        )
        self.x = Global("x", 3, "scalar", (), Ty.VOID, StatSpec({"count", "avg", "hist_log"}))
        self.n = LocalVar("n", Ty.LONG, 0)
        self.t = LocalVar("t", Ty.STR, 1, 16)
        self.p = LocalVar("p", Ty.LONG, 0)
        self.f = Function("f", [self.p], Ty.LONG, 0, [self.p], [ops.Return(ops.Local(self.p))])
        self.body: list[ops.Stmt] = []
        self.handler = Handler(0, [self.n, self.t], self.body)
        self.module = Module(
            globals=[self.c, self.s, self.a, self.x],
            functions=[self.f],
            handlers=[self.handler],
            probes=[Probe("begin", "begin", 0, SessionEvent("begin"), "x:1:1")],
            positions=[Position("operator '/'", "x", 1, 1)],
        )

    def key(self) -> list[ops.Expr]:
        return [ops.Const(1), ops.StrConst("k")]

    def tracing(self) -> None:
        """Make the handler one that runs on several CPUs at once."""
        event = Tracepoint("sched_switch", 3)
        self.module.probes = [Probe("t", "t", 0, event, "x:1:1")]


def valid(m: Sample) -> list[ops.Stmt]:
    fmt = Format((Directive("", "a"), Directive("d"), Directive("s")))
    return [
        ops.SetLocal(m.n, ops.Arith("/", ops.Const(4), ops.Local(m.n), 0)),
        ops.SetLocal(m.n, ops.Arith("/", ops.Const(4), ops.Const(2))),
        ops.SetLocal(m.t, ops.Concat([ops.StrConst("a"), ops.GlobalGet(m.s)])),
        ops.SetMap(m.a, m.key(), ops.Call([m.f], [ops.Const(1)], 0), 0),
        ops.If(ops.MapHas(m.a, [None, ops.Local(m.t)]), [ops.Return()]),
        ops.StatAdd(m.x, [], ops.Const(1), 0),
        ops.Emit(fmt, [ops.StatGet("avg", m.x, [], 0), ops.Local(m.t)]),
        ops.Foreach(m.a, [m.n, m.t], None, None, 0, 0, "count", None, [ops.Break()]),
        ops.Loop(ops.Local(m.n), [ops.Continue()], [ops.AddGlobal(m.c, ops.Const(1))]),
        ops.Try([ops.Eval(ops.Intrinsic("error", [ops.StrConst("x")], 0))], m.t, []),
        ops.EmitHist("log", m.x, [], False, 0),
    ]


def test_a_correct_module_passes() -> None:
    m = Sample()
    m.body += valid(m)
    assert check(m.module) == []


Damage = Callable[[Sample], "ops.Stmt | None"]


def cond(m: Sample, expr: ops.Expr) -> ops.Stmt:
    return ops.SetLocal(m.n, expr)


def _set(target: object, **values: object) -> None:
    for name, value in values.items():
        setattr(target, name, value)


DAMAGES: list[tuple[str, Damage]] = [
    ("value for n is string, not long", lambda m: ops.SetLocal(m.n, ops.StrConst("a"))),
    ("local p belongs elsewhere", lambda m: cond(m, ops.Local(m.p))),
    (
        "operand of Arith is string, not long",
        lambda m: cond(m, ops.Arith("+", ops.StrConst("1"), ops.Const(1))),
    ),
    ("position -1", lambda m: cond(m, ops.Arith("%", ops.Const(1), ops.Const(0)))),
    ("'+' with a position", lambda m: cond(m, ops.Arith("+", ops.Const(1), ops.Const(0), 0))),
    ("position 7", lambda m: cond(m, ops.Arith("/", ops.Const(1), ops.Const(0), 7))),
    (
        "operand of StrCompare is long, not string",
        lambda m: cond(m, ops.StrCompare("==", ops.Const(1), ops.StrConst(""))),
    ),
    ("needs more than 64 bits", lambda m: cond(m, ops.Const(2**63))),
    ("bad string literal", lambda m: ops.SetLocal(m.t, ops.StrConst("a" * 512))),
    ("bad string literal", lambda m: ops.SetLocal(m.t, ops.StrConst("a\0b"))),
    (
        "second choice is string, not long",
        lambda m: cond(m, ops.Cond(ops.Const(1), ops.Const(1), ops.StrConst(""), Ty.LONG)),
    ),
    ("a: 1 keys", lambda m: cond(m, ops.MapGet(m.a, [ops.Const(1)]))),
    ("c: element without keys", lambda m: cond(m, ops.MapGet(m.c, []))),
    ("key of a is string, not long", lambda m: ops.DeleteMap(m.a, [ops.StrConst("x"), None])),
    ("x is an aggregate", lambda m: cond(m, ops.GlobalGet(m.x))),
    ("a: 0 keys", lambda m: ops.SetGlobal(m.a, ops.Const(1))),
    ("x does not keep min", lambda m: cond(m, ops.StatGet("min", m.x, [], 0))),
    ("position -1", lambda m: cond(m, ops.StatGet("avg", m.x, []))),
    ("c is no aggregate", lambda m: ops.StatAdd(m.c, [], ops.Const(1), 0)),
    ("x does not keep hist_linear", lambda m: ops.EmitHist("linear", m.x, [], False, 0)),
    ("call of nothing", lambda m: ops.Eval(ops.Call([], [], 0))),
    ("f: 0 arguments", lambda m: ops.Eval(ops.Call([m.f], [], 0))),
    ("argument p of f is string", lambda m: ops.Eval(ops.Call([m.f], [ops.StrConst("")], 0))),
    (
        "function g is not of this module",
        lambda m: ops.Eval(ops.Call([Function("g", [], Ty.LONG)], [], 0)),
    ),
    ("no intrinsic nix", lambda m: ops.Eval(ops.Intrinsic("nix", []))),
    ("strlen: 0 arguments", lambda m: ops.Eval(ops.Intrinsic("strlen", []))),
    ("argument of strlen is long", lambda m: ops.Eval(ops.Intrinsic("strlen", [ops.Const(1)]))),
    ("table_str: 0 constants", lambda m: ops.Eval(ops.Intrinsic("table_str", [ops.Const(1)]))),
    ("position -1", lambda m: ops.Eval(ops.Intrinsic("error", [ops.StrConst("")]))),
    ("format takes 1 values, got 0", lambda m: ops.Emit(Format((Directive("d"),)), [])),
    (
        "format takes 2 values, got 1",
        lambda m: ops.Emit(Format((Directive("d", width=-1),)), [ops.Const(1)]),
    ),
    ("format argument is long", lambda m: ops.Emit(Format((Directive("s"),)), [ops.Const(1)])),
    ("load of 3 bytes", lambda m: cond(m, ops.Load(ops.Const(0), "kernel", 3, False, 0))),
    ("Break outside a loop", lambda m: ops.Break()),
    ("Continue outside a loop", lambda m: ops.Loop(ops.Const(1), [], [ops.Continue()])),
    ("key variables", lambda m: ops.Foreach(m.a, [m.n], None, None, 0, 0, "count", None, [])),
    ("value variable", lambda m: ops.Foreach(m.a, [m.n, m.t], m.t, None, 0, 0, "count", None, [])),
    ("sort column 3", lambda m: ops.Foreach(m.a, [m.n, m.t], None, None, 1, 3, "count", None, [])),
    ("c is no array", lambda m: ops.Foreach(m.c, [], None, None, 0, 0, "count", None, [])),
    ("caught message is no string", lambda m: ops.Try([], m.n, [])),
    ("action without count", lambda m: ops.Action(0, 0)),
    ("returned value is long", lambda m: ops.Return(ops.Const(1))),
    ("locks out of order", lambda m: ops.Locked([(m.s, "read"), (m.c, "read")], [])),
    (
        "unsafe operand",
        lambda m: ops.Emit(
            Format((Directive("s"), Directive("s"))),
            [ops.Local(m.t), ops.Seq([ops.SetLocal(m.t, ops.StrConst("b"))], ops.StrConst("c"))],
        ),
    ),
    (
        "unsafe operand",
        lambda m: ops.Foreach(
            m.a,
            [m.n, m.t],
            None,
            [None, ops.Local(m.t)],
            0,
            0,
            "count",
            None,
            [],
        ),
    ),
    ("local n has index 5", lambda m: _set(m.n, index=5)),
    ("local t: bound 0", lambda m: _set(m.t, bound=0)),
    ("local t: bound 600", lambda m: _set(m.t, bound=600)),
    ("params are not first locals", lambda m: _set(m.f, params=[m.n])),
    ("recursive is True", lambda m: _set(m.f, recursive=True)),
    ("lock in a function", lambda m: m.f.body.insert(0, ops.Locked([(m.c, "read")], []))),
    ("keys and kind disagree", lambda m: _set(m.c, kind="array")),
    ("bound and type disagree", lambda m: _set(m.s, bound=0)),
    ("initial value longer", lambda m: _set(m.s, init="12345678")),
    ("key bounds and key types disagree", lambda m: _set(m.a, key_bounds=(1, 0))),
    ("key bounds and keys differ", lambda m: _set(m.a, key_bounds=())),
    ("no capacity", lambda m: _set(m.a, capacity=0)),
    ("statistics and value type disagree", lambda m: _set(m.x, value=Ty.LONG)),
    ("index 9 at 0", lambda m: _set(m.c, index=9)),
    ("handler 4: stands at 0", lambda m: _set(m.handler, index=4)),
    ("no handler 3", lambda m: _set(m.module, probes=[m.module.probes[0]._replace(handler=3)])),
    (
        "no condition 0",
        lambda m: _set(m.module, probes=[m.module.probes[0]._replace(condition=0)]),
    ),
    (
        "condition 0: Call",
        lambda m: _set(m.module, conditions=[ops.Call([m.f], [ops.Const(1)], 0)]),
    ),
]


@pytest.mark.parametrize(("message", "damage"), DAMAGES, ids=[d[0] for d in DAMAGES])
def test_damage_is_found(message: str, damage: Damage) -> None:
    m = Sample()
    stmt = damage(m)
    if stmt is not None:
        m.body.append(stmt)
    found = check(m.module)
    assert len(found) >= 1
    assert any(message in f for f in found), found


def test_a_node_in_two_places_is_found() -> None:
    m = Sample()
    shared = ops.Local(m.n)
    m.body.append(ops.SetLocal(m.n, ops.Arith("+", shared, shared)))
    assert check(m.module) == ["handler 0: Local stands in two places"]


def add(m: Sample) -> ops.Stmt:
    return ops.AddGlobal(m.c, ops.Const(1))


def read(m: Sample) -> ops.Stmt:
    return ops.SetLocal(m.n, ops.GlobalGet(m.c))


def show() -> ops.Stmt:
    return ops.Emit(Format((Directive("", "x"),)), [])


LOCKS: list[tuple[list[str], Callable[[Sample], list[ops.Stmt]]]] = [
    ([], lambda m: [add(m)]),
    ([], lambda m: [add(m), add(m)]),
    (["access to c without lock"] * 2, lambda m: [add(m), read(m)]),
    ([], lambda m: [ops.Locked([(m.c, "write")], [add(m), read(m)])]),
    (
        ["access to c under a lock for read"],
        lambda m: [ops.Locked([(m.c, "read")], [add(m), read(m)])],
    ),
    (
        ["access to c under a lock for update"],
        lambda m: [ops.Locked([(m.c, "update")], [add(m), read(m)])],
    ),
    (["access to c without lock"], lambda m: [ops.Locked([(m.c, "write")], [add(m)]), read(m)]),
    (
        ["lock taken after something visible"],
        lambda m: [show(), ops.Locked([(m.c, "write")], [add(m), read(m)])],
    ),
    (
        ["lock region inside another"],
        lambda m: [
            ops.Locked([(m.c, "write")], [ops.Locked([(m.c, "write")], [add(m), read(m)])])
        ],
    ),
    (
        ["lock taken after something visible"],
        lambda m: [
            ops.Locked([(m.c, "write")], [add(m)]),
            ops.Locked([(m.c, "write")], [read(m)]),
        ],
    ),
    (
        ["lock taken after something visible"],
        lambda m: [ops.Loop(ops.Const(1), [ops.Locked([(m.c, "write")], [add(m), read(m)])])],
    ),
    (
        [],
        lambda m: [
            ops.If(
                ops.Local(m.n),
                [ops.Locked([(m.c, "write")], [add(m), read(m)])],
                [ops.Locked([(m.c, "write")], [add(m), read(m)])],
            )
        ],
    ),
    (["access to c without lock"] * 2, lambda m: [ops.If(ops.GlobalGet(m.c), [add(m)])]),
]


@pytest.mark.parametrize(("expected", "body"), LOCKS)
def test_locks(expected: list[str], body: Callable[[Sample], list[ops.Stmt]]) -> None:
    m = Sample()
    m.tracing()
    m.body += body(m)
    assert check(m.module) == [f"handler 0: {e}" for e in expected]
    assert check(m.module, finished=False) == []
    m.module.probes = [Probe("end", "end", 0, SessionEvent("end"), "x:1:1")]
    assert [f for f in check(m.module) if "access" in f] == []
