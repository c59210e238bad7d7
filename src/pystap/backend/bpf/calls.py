"""Functions of the script: how they are compiled and called.

Parameters and string results travel in the callee's frame.  A function that is small or called
from one place becomes part of its caller; any other is a function the verifier checks once, with
the index of the context as only argument.
"""

from __future__ import annotations

from pystap.backend.bpf import emit, layout, strings
from pystap.backend.bpf.errors import leave_after_call, raise_error
from pystap.backend.bpf.layout import round_up
from pystap.backend.bpf.scope import Body, Scope, begin_block, find_context
from pystap.backend.bpf.statements import clear_local
from pystap.backend.bpf.strings import Room, Text
from pystap.ir import errors, ops
from pystap.ir.types import Ty
from pystap.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pystap.backend.bpf.emit import Waiting
    from pystap.backend.bpf.unit import Unit
    from pystap.backend.llvm.builder import FunctionBuilder, Value
    from pystap.ir.module import Function
    from pystap.ir.types import LocalVar


class Compiled:
    """A function that was emitted: its symbol, frame, and how it is called.

    ``state`` is where a recursive function begins in the machine that runs its group, else -1.
    """

    __slots__ = ("body", "inline", "name", "state")

    def __init__(self, name: str, body: Body, inline: bool, state: int = -1) -> None:
        self.name = name
        self.body = body
        self.inline = inline
        self.state = state


def compiled(u: Unit, f: Function) -> Compiled:
    """The compiled form of a function, made at first use."""
    found = u.functions.get(id(f))
    if found is None and f.recursive:
        from pystap.backend.bpf.recursion import compile_group

        compile_group(u, u.analysis.group(f))
        return u.functions[id(f)]
    if found is None:
        name = u.fresh("f." + "".join(c if c.isalnum() else "_" for c in f.name))
        inline = u.analysis.inlines(f)
        body = Body(u.frame(name), u.analysis.counts_actions(f) or u.counts_actions)
        place_interface(u, f, body)
        found = u.functions[id(f)] = Compiled(name, body, inline)
        if inline:
            with u.m.function(
                name, "i64", [("ptr", "context")], linkage="internal", attrs=["alwaysinline"]
            ) as b:
                _emit_body(u, f, body, b, b.args[0])
        else:
            u.function(name, ["index"], lambda b: _emit_global(u, f, body, b))
    return found


def place_interface(u: Unit, f: Function, body: Body) -> None:
    """Place the parameters and the result of a function in its frame."""
    for var in f.params:
        body.place(var, u.max_string)
    if f.result is Ty.STR:
        body.result_bound = min(f.bound or u.limits.maxstringlen, u.limits.maxstringlen)
        body.result = body.frame.allocate(body.result_bound)
    elif f.result is Ty.LONG:
        body.result = body.frame.allocate(8)


def _emit_global(u: Unit, f: Function, body: Body, b: FunctionBuilder) -> None:
    _emit_body(u, f, body, b, find_context(u, b, b.args[0]))


def _emit_body(u: Unit, f: Function, body: Body, b: FunctionBuilder, context: Value) -> None:
    s = Scope(u, body, b, context)
    params = {id(p) for p in f.params}
    for var in f.locals:
        if id(var) not in params:
            clear_local(s, var)
    if body.result >= 0:
        b.store(0, s.slot(body.result))
    failed, back = s.new_exit("error"), s.new_exit("return")
    gives_way = s.new_exit("next")
    emit.statements(s, f.body)
    b.jump(back.label)
    if gives_way.used:
        b.place(gives_way.label)
        s.set_header(layout.UNWIND, layout.UNWIND_NEXT)
        b.jump(back.label)
    if failed.used:
        b.place(failed.label)
        b.jump(back.label)
    b.place(back.label)
    b.ret(b.load("i64", s.slot(body.result)) if f.result is Ty.LONG else 0)


@emit.emits_long(ops.Call)
def _call_long(s: Scope, e: ops.Call) -> Value:
    return _call(s, e)[1]


@emit.emits_string(ops.Call)
def _call_string(s: Scope, e: ops.Call, room: Room) -> None:
    _call(s, e, room)


def _call(s: Scope, e: ops.Call, room: Room | None = None) -> tuple[Compiled, Value]:
    arguments = evaluate_arguments(s, e.args)
    if len(e.targets) == 1 and not s.u.analysis.facts(e.targets[0]).nexts:
        return _call_one(s, e.targets[0], arguments, e.pos, room)
    return _call_overloads(s, e, arguments, room)


def evaluate_arguments(s: Scope, args: list[ops.Expr]) -> list[Waiting | Text]:
    """Emit the arguments of a call in order."""
    held = s.held
    found: list[Waiting | Text] = [
        strings.reference(s, a) if ops.type_of(a) is Ty.STR else emit.waiting(s, a) for a in args
    ]
    s.held = held
    return found


def call_target(s: Scope, e: ops.Call, result: LocalVar | None) -> None:
    """Emit a call of the only target, which may end by ``next``, and keep its result."""
    from pystap.backend.bpf.statements import local_room

    arguments = evaluate_arguments(s, e.args)
    is_text = result is not None and result.ty is Ty.STR
    room = local_room(s, result) if is_text and result is not None else None
    _, value = _call_one(s, e.targets[0], arguments, e.pos, room)
    if result is not None and not is_text:
        s.b.store(value, s.local(result))


def _call_one(
    s: Scope, f: Function, arguments: list[Waiting | Text], pos: int, room: Room | None
) -> tuple[Compiled, Value]:
    u, b = s.u, s.b
    callee = compiled(u, f)
    context = s.need_context()
    u.callees[s.body.frame.name].append(callee.name)
    enter_call(s, pos)
    if callee.state >= 0:
        from pystap.backend.bpf.recursion import start

        start(s, callee)
    frame = callee.body.locate(b, context)
    pass_arguments(s, f, arguments, callee.body, frame)
    result = b.call(callee.name, context if callee.inline else s.header(layout.INDEX))
    leave_call(s)
    if u.analysis.facts(f).fails:
        leave_after_call(s, pos)
    if callee.state >= 0 and f.result is Ty.LONG:
        result = b.load("i64", frame, callee.body.result)
    if room is not None:
        take_string(s, callee.body, frame, room)
    return callee, result


def pass_arguments(
    s: Scope, f: Function, arguments: list[Waiting | Text], body: Body, frame: Value
) -> None:
    """Copy arguments to the parameters in a callee's frame."""
    most = s.u.limits.maxstringlen
    for var, argument in zip(f.params, arguments):
        where = s.b.at(frame, body.places[id(var)])
        if isinstance(argument, Text):
            limit = min(var.bound or most, most)
            strings.copy(s, argument, Room(where, round_up(limit), limit))
        else:
            s.b.store(emit.present(argument), where)


def take_string(s: Scope, body: Body, frame: Value, room: Room) -> None:
    """Copy a string result out of a callee's frame."""
    bound = body.result_bound
    strings.copy(s, Text(s.b.at(frame, body.result), bound, round_up(bound)), room)


def enter_call(s: Scope, pos: int) -> None:
    """Count one more active call, where programs can have too many."""
    if not s.u.tracks_nesting:
        return
    depth = s.header(layout.NESTING)
    with s.b.if_(depth.uge(s.u.limits.maxnesting)):
        raise_error(s, errors.MAXNESTING_EXCEEDED, pos)
    s.set_header(layout.NESTING, depth + 1)


def leave_call(s: Scope) -> None:
    """Count one active call less."""
    if s.u.tracks_nesting:
        s.set_header(layout.NESTING, s.header(layout.NESTING) - 1)


def _call_overloads(
    s: Scope, e: ops.Call, arguments: list[Waiting | Text], room: Room | None
) -> tuple[Compiled, Value]:
    """Call the targets in turn until one does not end by ``next``."""
    b = s.b
    result = b.var("i64", 0)
    done = b.new_label("d")
    for target in e.targets:
        callee, value = _call_one(s, target, arguments, e.pos, room)
        result.set(value)
        if not s.u.analysis.facts(target).nexts:
            b.jump(done)
            b.place(done)
            return callee, result.get()
        again = b.new_label("n")
        b.branch_if(s.header(layout.UNWIND).eq(layout.UNWIND_NEXT), again, done)
        b.place(again)
        s.set_header(layout.UNWIND, 0)
    raise_error(s, errors.FUNCTIONS_EXHAUSTED, e.pos)
    begin_block(b, done)
    return callee, result.get()
