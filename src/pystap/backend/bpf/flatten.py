"""Recursive functions as states: what runs between two calls becomes one state.

BPF has eight frames of stack and refuses recursion, so a group of mutually recursive functions is
run by a loop that does one state a round (see :mod:`recursion`).  This file cuts function bodies
into states; only statements that contain a call within the group are cut, all others stay whole.
"""

from __future__ import annotations

from pystap.ir import ops
from pystap.ir.types import LocalVar, Ty
from pystap.ir.walk import operands, rewrite_operands, walk, walk_body
from pystap.records import dataclass, field
from pystap.typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

if TYPE_CHECKING:
    from pystap.ir.module import Function


@dataclass(slots=True)
class Goto:
    """Go on with another state."""

    state: State


@dataclass(slots=True)
class Branch:
    """Go on with one of two states."""

    cond: ops.Expr
    yes: State
    no: State


@dataclass(slots=True)
class Enter:
    """Call a function; ``resume`` goes on when it has returned.

    ``result`` and ``otherwise`` are as in :class:`Arrive`, for a function outside of the group.
    """

    target: Function
    call: ops.Call
    resume: State
    result: LocalVar | None
    otherwise: State | None


@dataclass(slots=True)
class Leave:
    """Return from the function; ``value`` was stored already unless given."""

    value: ops.Expr | None = None


@dataclass(slots=True)
class Arrive:
    """What a resuming state does first: take a call's result, go on with the next overload
    (``otherwise``, None: there is none) when it gave way."""

    target: Function
    call: ops.Call
    result: LocalVar | None
    otherwise: State | None


_LOOPS: Final = (ops.Loop, ops.Foreach, ops.ForeachHist)

_Nodes = TypeVar("_Nodes", bound=Any)


@dataclass(slots=True, eq=False)
class BeginForeach:
    """A statement: make the snapshot of a foreach that is cut into states."""

    loop: ops.Foreach
    rounds: LocalVar
    index: LocalVar


@dataclass(slots=True, eq=False)
class VisitForeach:
    """A statement: load the element whose turn it is."""

    begin: BeginForeach


@dataclass(slots=True, eq=False)
class BeginBuckets:
    """A statement: see how many buckets a loop over a histogram visits."""

    loop: ops.ForeachHist
    rounds: LocalVar
    index: LocalVar


@dataclass(slots=True, eq=False)
class VisitBucket:
    """A statement: store the bucket whose turn it is."""

    begin: BeginBuckets


_OwnStmt: TypeAlias = BeginForeach | VisitForeach | BeginBuckets | VisitBucket
Ending: TypeAlias = Goto | Branch | Enter | Leave


@dataclass(slots=True, eq=False)
class State:
    """Statements and how they end.

    Errors go to the state ``caught`` or leave the function; ``break`` and ``continue`` in the
    statements go to the states of these names.  ``catching`` marks the beginning of a ``catch``.
    """

    function: Function
    number: int
    body: list[ops.Stmt] = field(default_factory=list)
    ending: Ending | None = None
    arrive: Arrive | None = None
    catching: ops.Try | None = None
    caught: State | None = None
    on_break: State | None = None
    on_continue: State | None = None
    holds: tuple[BeginForeach, ...] = ()  # whose buffers must be given back on leaving
    is_entry: bool = False

    def add_own(self, stmt: _OwnStmt) -> None:
        """Put a statement behind the others that is none of the IR."""
        self.body.append(stmt)  # type: ignore[arg-type]  # it has an emitter like those


class Flattener:
    """Cuts the functions of one group; with ``nests`` loops that hold loops are cut, too."""

    def __init__(self, group: list[Function], *, nests: bool = False) -> None:
        self.group = group
        self.nests = nests
        self.states: list[State] = []
        self.entries: dict[int, State] = {}
        self.temporaries: dict[int, list[LocalVar]] = {}  # by identity of the function
        self._function = group[0]
        self._caught: State | None = None
        self._break: State | None = None
        self._continue: State | None = None
        self._holds: tuple[BeginForeach, ...] = ()
        for function in group:
            self._function = function
            self.entries[id(function)] = self._new()
            self.entries[id(function)].is_entry = True
        for function in group:
            self._function = function
            end = self._statements(copied(function.body), self.entries[id(function)])
            if end.ending is None:
                end.ending = Leave()

    def _new(self) -> State:
        state = State(self._function, len(self.states))
        state.caught, state.on_break = self._caught, self._break
        state.on_continue = self._continue
        state.holds = self._holds
        self.states.append(state)
        return state

    def _recurses(self, node: ops.Expr | ops.Stmt) -> bool:
        return any(self._is_cut(n) for n in walk(node))

    def _is_cut(self, node: ops.Expr | ops.Stmt) -> bool:
        if isinstance(node, ops.Call):
            return any(target in self.group for target in node.targets)
        if not self.nests or not isinstance(node, _LOOPS):
            return False
        return any(isinstance(n, _LOOPS) for n in walk(node) if n is not node)

    # ---- statements

    def _statements(self, body: list[ops.Stmt], state: State) -> State:
        """Append statements to a state; the state they end in."""
        for stmt in body:
            state = self._statement(stmt, state)
        return state

    def _statement(self, stmt: ops.Stmt, state: State) -> State:
        if state.ending is not None:
            return state  # behind a return
        if not self._recurses(stmt):
            state.body.append(stmt)
            return state
        match stmt:
            case ops.If():
                return self._if(stmt, state)
            case ops.Loop():
                return self._loop(stmt, state)
            case ops.Try():
                return self._try(stmt, state)
            case ops.SetLocal(var, ops.Call() as call):
                return self._call(call, var, self._arguments(call, state))
            case ops.Eval(ops.Call() as call):
                return self._call(call, None, self._arguments(call, state))
            case ops.Foreach():
                return self._foreach(stmt, state)
            case ops.ForeachHist():
                return self._foreach_hist(stmt, state)
        state = self._operands(stmt, state)
        state.body.append(stmt)
        return state

    def _if(self, stmt: ops.If, state: State) -> State:
        cond, state = self._simple(stmt.cond, state)
        yes, no, after = self._new(), self._new(), self._new()
        state.ending = Branch(cond, yes, no)
        for body, arm in ((stmt.then, yes), (stmt.orelse, no)):
            end = self._statements(body, arm)
            if end.ending is None:
                end.ending = Goto(after)
        return after

    def _loop(self, stmt: ops.Loop, state: State) -> State:
        head, step, after = self._new(), self._new(), self._new()
        state.ending = Goto(head)
        cond, test = self._simple(copied(stmt.cond), head)
        outer = self._break, self._continue
        self._break, self._continue = after, step
        body = self._new()
        test.ending = Branch(cond, body, after)
        end = self._statements(stmt.body, body)
        self._break, self._continue = outer
        if end.ending is None:
            end.ending = Goto(step)
        end = self._statements(stmt.step, step)
        end.ending = Goto(head)
        return after

    def _foreach(self, stmt: ops.Foreach, state: State) -> State:
        state = self._operands(stmt, state)
        begin = BeginForeach(stmt, self._local(Ty.LONG), self._local(Ty.LONG))
        state.add_own(begin)
        load = VisitForeach(begin)
        return self._rounds(begin.index, ops.Local(begin.rounds), load, stmt.body, state, begin)

    def _foreach_hist(self, stmt: ops.ForeachHist, state: State) -> State:
        state = self._operands(stmt, state)
        begin = BeginBuckets(stmt, self._local(Ty.LONG), self._local(Ty.LONG))
        state.add_own(begin)
        load = VisitBucket(begin)
        return self._rounds(begin.index, ops.Local(begin.rounds), load, stmt.body, state, None)

    def _rounds(
        self,
        index: LocalVar,
        rounds: ops.Expr,
        load: VisitForeach | VisitBucket,
        stmts: list[ops.Stmt],
        state: State,
        begin: BeginForeach | None,
    ) -> State:
        """Cut a loop that counts; ``load`` comes first in every round."""
        after = self._new()
        outer = self._break, self._continue, self._holds
        if begin is not None:
            self._holds = (*self._holds, begin)
        head, step = self._new(), self._new()
        self._break, self._continue = after, step
        body = self._new()
        state.ending = Goto(head)
        head.ending = Branch(ops.Compare("<", ops.Local(index), rounds), body, after)
        body.add_own(load)
        end = self._statements(stmts, body)
        if end.ending is None:
            end.ending = Goto(step)
        more = ops.Arith("+", ops.Local(index), ops.Const(1))
        step.body.append(ops.SetLocal(index, more))
        step.ending = Goto(head)
        self._break, self._continue, self._holds = outer
        return after

    def _try(self, stmt: ops.Try, state: State) -> State:
        after, handler = self._new(), self._new()
        handler.catching = stmt
        outer, self._caught = self._caught, handler
        body = self._new()
        state.ending = Goto(body)
        end = self._statements(stmt.body, body)
        self._caught = outer
        if end.ending is None:
            end.ending = Goto(after)
        end = self._statements(stmt.handler, handler)
        if end.ending is None:
            end.ending = Goto(after)
        return after

    def _call(self, call: ops.Call, result: LocalVar | None, state: State) -> State:
        """Emit a call whose arguments are simple; overloads are tried one after another."""
        after = self._new()
        for i, target in enumerate(call.targets):
            more = self._new() if i + 1 < len(call.targets) else None
            resume = self._new()
            if target in self.group:
                resume.arrive = Arrive(target, call, result, more)
            resume.ending = Goto(after)
            state.ending = Enter(target, call, resume, result, more)
            if more is not None:
                state = more
        return after

    # ---- expressions

    def _simple(self, expr: ops.Expr, state: State) -> tuple[ops.Expr, State]:
        """An expression without calls within the group that has the value of ``expr``."""
        if not self._recurses(expr):
            return expr, state
        match expr:
            case ops.Call():
                result = self._temporary(expr)
                return ops.Local(result), self._call(expr, result, self._arguments(expr, state))
            case ops.Seq(body, value):
                return self._simple(value, self._statements(body, state))
            case ops.Cond():
                return self._chosen(expr.cond, expr.yes, expr.no, self._temporary(expr), state)
            case ops.Logic(op, left, right):
                yes, no = ops.Compare("!=", right, ops.Const(0)), ops.Const(0)
                if op == "||":
                    return self._chosen(left, ops.Const(1), yes, self._temporary(expr), state)
                return self._chosen(left, yes, no, self._temporary(expr), state)
        return expr, self._operands(expr, state)

    def _chosen(
        self, cond: ops.Expr, yes: ops.Expr, no: ops.Expr, result: LocalVar, state: State
    ) -> tuple[ops.Expr, State]:
        made = ops.If(cond, [ops.SetLocal(result, yes)], [ops.SetLocal(result, no)])
        return ops.Local(result), self._if(made, state)

    def _arguments(self, call: ops.Call, state: State) -> State:
        """Make the arguments simple; with overloads they are needed more than once."""
        state = self._operands(call, state)
        if len(call.targets) > 1:
            call.args = [self._saved(arg, state) for arg in call.args]
        return state

    def _operands(self, node: ops.Expr | ops.Stmt, state: State) -> State:
        """Make the operands of a node simple, in order: what is evaluated before a call within
        the group is kept in a local."""
        last = max((i for i, o in enumerate(operands(node)) if self._recurses(o)), default=-1)
        index = -1

        def rewrite(operand: ops.Expr) -> ops.Expr:
            nonlocal index, state
            index += 1
            made, state = self._simple(operand, state)
            return self._saved(made, state) if index < last else made

        rewrite_operands(node, rewrite)
        return state

    def _saved(self, expr: ops.Expr, state: State) -> ops.Expr:
        if isinstance(expr, (ops.Const, ops.StrConst)):
            return expr
        var = self._temporary(expr)
        state.body.append(ops.SetLocal(var, expr))
        return ops.Local(var)

    def _temporary(self, expr: ops.Expr) -> LocalVar:
        ty = ops.type_of(expr)
        return self._local(Ty.LONG if ty is Ty.VOID else ty)

    def _local(self, ty: Ty) -> LocalVar:
        var = LocalVar("", ty, -1)
        self.temporaries.setdefault(id(self._function), []).append(var)
        return var


def copied(nodes: _Nodes) -> _Nodes:
    """A copy to be rewritten; variables and functions in it stay the same objects."""
    from copy import deepcopy

    from pystap.ir.module import Function
    from pystap.ir.types import Global

    kept: dict[int, object] = {}
    for node in walk_body(nodes if isinstance(nodes, list) else [nodes]):
        for name in type(node).__match_args__:
            value = getattr(node, name)
            for each in value if isinstance(value, list) else [value]:
                if isinstance(each, (LocalVar, Global, Function)):
                    kept[id(each)] = each
                elif isinstance(each, tuple) and each and isinstance(each[0], Global):
                    kept[id(each[0])] = each[0]
    return deepcopy(nodes, kept)
