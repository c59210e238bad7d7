"""Which functions a call means, and the copies made for probes whose context they use."""

from __future__ import annotations

from pystap.lang import ast
from pystap.lang.tokens import Token
from pystap.lang.visit import clone, walk
from pystap.probes.base import Context
from pystap.sema.declare import declare_file, use_file
from pystap.sema.program import FunctionSymbol, LocalSymbol
from pystap.sema.targets import TargetExpander, needs_context
from pystap.sema.work import Body, Work

_USER_PRIORITY = 0
_LIBRARY_PRIORITY = 1


def find_functions(work: Work, name: str, arity: int, tok: Token) -> list[FunctionSymbol]:
    """Functions ``name`` of ``arity`` parameters, in the order they are tried.

    Scripts come before the library, whose file is only read when no script answers for good: the
    list ends with the first function that never gives way by ``next``.
    """
    found = _declared(work, name, arity, tok)
    if not found or _gives_way(work, found[-1]):
        for number in work.tapset.function_files(name):
            if not work.tapset.is_loaded(number):
                declare_file(work, work.tapset.load(number))
                found = _declared(work, name, arity, tok)
            if found and not _gives_way(work, found[-1]):
                break
    for function in found:
        use_file(work, function.decl.tok)
    return found


def _declared(work: Work, name: str, arity: int, tok: Token) -> list[FunctionSymbol]:
    scope = work.scope_of(tok)
    private = scope.functions.get(name, []) if scope is not None else []
    fitting = [f for f in (*private, *work.functions.get(name, ())) if len(f.params) == arity]
    fitting.sort(key=_priority)  # stable: ties in order of declaration
    for position, function in enumerate(fitting):
        if not _gives_way(work, function):
            return fitting[: position + 1]
    return fitting


def _priority(function: FunctionSymbol) -> int:
    if function.decl.priority is not None:
        return function.decl.priority
    return _USER_PRIORITY if function.user else _LIBRARY_PRIORITY


def _gives_way(work: Work, function: FunctionSymbol) -> bool:
    """Whether a function can leave the call to the next overload."""
    known = work.giving_way.get(function)
    if known is None:
        body = function.decl.body
        if isinstance(body, ast.EmbeddedCode):
            known = "STAP_NEXT" in body.code
        else:
            known = any(isinstance(node, ast.Next) for node in walk(body))
        work.giving_way[function] = known
    return known


def known_arities(work: Work, name: str, tok: Token) -> list[FunctionSymbol]:
    """All functions of a name, whatever their arity."""
    scope = work.scope_of(tok)
    private = scope.functions.get(name, []) if scope is not None else []
    return [*private, *work.functions.get(name, ())]


def reach(work: Work, function: FunctionSymbol, context: Context | None) -> FunctionSymbol:
    """The function as called with ``context``: itself, or a copy when it depends on that.

    Its body is queued for resolution when it is reached for the first time.
    """
    if is_contextual(work, function):
        key = (function, context.share_key if context is not None else None)
        copy = work.instances.get(key)
        if copy is None:
            copy = work.instances[key] = _copy(function, context)
            _queue(work, copy, context)
        return copy
    if function not in work.reached_set:
        _queue(work, function, None)
    return function


def is_contextual(work: Work, function: FunctionSymbol) -> bool:
    """Whether a function uses context variables, itself or through functions it calls."""
    known = work.contextual.get(function)
    if known is None:
        work.contextual[function] = False  # what recursive calls are taken for meanwhile
        known = function.body is not None and (
            needs_context(function.body) or _calls_contextual(work, function.body)
        )
        work.contextual[function] = known
    return known


def _calls_contextual(work: Work, body: ast.Block) -> bool:
    for node in walk(body):
        if isinstance(node, ast.Call) and not node.functions:
            for target in find_functions(work, node.name, len(node.args), node.tok):
                if is_contextual(work, target):
                    return True
    return False


def _copy(function: FunctionSymbol, context: Context | None) -> FunctionSymbol:
    params = [LocalSymbol(p.name, p.tok, p.type) for p in function.params]
    body = None if function.body is None else clone(function.body)
    copy = FunctionSymbol(
        function.name, function.decl, params, body, function.user, function.decl.type
    )
    copy.locals = {p.name: p for p in params}
    copy.context = context
    return copy


def _queue(work: Work, function: FunctionSymbol, context: Context | None) -> None:
    work.reached.append(function)
    work.reached_set.add(function)
    if function.body is None:
        code = function.decl.body
        if function.intrinsic is None and isinstance(code, ast.EmbeddedCode):
            from pystap.sema.embedded import note_globals

            note_globals(work, code)
        return
    expander = TargetExpander(work, context)
    expander.expand_body(function.body)
    if expander.entry is not None:
        work.error("@entry can be used in probe handlers only", function.decl.tok)
    work.bodies.append(Body(function.body, function, context))
