"""Pass 3: from the analysed program to the IR.

``lower`` translates and then runs the passes that make the result complete: action counting,
operand order, string bounds and locks, and some that make it cheaper.
"""

from __future__ import annotations

from collections.abc import Callable

from pystap.ir import ops
from pystap.ir.lower import expr as lower_expr
from pystap.ir.lower import stmt as lower_stmt
from pystap.ir.lower.embedded import c_body, c_text
from pystap.ir.lower.patterns import compile_patterns
from pystap.ir.lower.scope import Frame, Shared, ty_of
from pystap.ir.module import Function, Handler, Limits, Module, Probe
from pystap.ir.types import Ty
from pystap.lang import ast
from pystap.lang.limits import allow_deep_trees
from pystap.lang.numbers import c_number
from pystap.sema.program import DerivedProbe, FunctionSymbol, GlobalSymbol, Program
from pystap.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pystap.options import Options


def lower(program: Program, options: Options, limits: Limits, *, settable: bool = False) -> Module:
    """Translate an analysed program.

    ``settable``: scalars of scripts can be given values when the program is loaded.
    ``options`` give initial values (``-G``) and the locking rule (``--compatible``); ``limits``
    become part of the module (MAXNESTING is computed unless it was defined).  Raises
    DiagnosticError for constructs that the IR cannot express.
    """
    module = translate(program, options, limits, settable=settable)
    for run in passes(options):
        run(module)
    return module


def passes(options: Options) -> list[Callable[[Module], None]]:
    """What follows translation, in order."""
    from functools import partial

    from pystap.ir.actions import drop_actions
    from pystap.ir.bounds import infer_bounds
    from pystap.ir.hoist import hoist_statements
    from pystap.ir.locks import place_locks
    from pystap.ir.nesting import note_nesting
    from pystap.ir.order import order_operands
    from pystap.ir.splice import splice_text

    return [
        note_nesting,
        drop_actions,
        order_operands,
        hoist_statements,
        infer_bounds,
        splice_text,
        partial(place_locks, whole_handlers=_is_before(options, (4, 4))),
    ]


def translate(
    program: Program, options: Options, limits: Limits, *, settable: bool = False
) -> Module:
    """Translation alone, before any other pass."""
    allow_deep_trees()
    module = Module(limits=limits)
    shared = Shared(module, _make_function)
    shared.wide_pointers = _is_before(options, (1, 3))
    shared.members_in_c = _is_before(options, (1, 8))
    module.c_texts = [c_text(code.code, code.tok) for code in program.embedded]
    module.has_c = bool(module.c_texts)
    for symbol in program.globals:
        shared.add_global(symbol, _initial(symbol, options), settable)
    for probe in program.probes:
        _make_handler(shared, probe)
    known = [shared.functions[s] for s in program.functions if s in shared.functions]
    others = [f for f in shared.functions.values() if f not in set(known)]
    module.functions = known + others + list(shared.accessors.values())
    compile_patterns(module, shared.patterns)
    return module


def _is_before(options: Options, release: tuple[int, int]) -> bool:
    """Whether ``--compatible`` asks for the behaviour before a release."""
    if not options.compatible:
        return False
    parts = options.compatible.split(".")
    version = tuple(int(p) if p.isdigit() else 0 for p in parts[:2])
    return version < release


def _initial(symbol: GlobalSymbol, options: Options) -> int | str:
    """Value at start: the declared one unless ``-G`` gives another."""
    if symbol.keys or symbol.type == "stats":
        return 0
    given = options.global_inits.get(symbol.name) if symbol.user else None
    if symbol.type == "string":
        declared = symbol.decl.init.value if isinstance(symbol.decl.init, ast.String) else ""
        return declared if given is None else given
    if given is not None:
        return ((c_number(given) or 0) + 2**63) % 2**64 - 2**63
    return symbol.decl.init.value if isinstance(symbol.decl.init, ast.Number) else 0


def _make_function(shared: Shared, symbol: FunctionSymbol) -> None:
    """Lower one function; calls of it from within see it without a summary of effects."""
    result = Ty.VOID if symbol.type in ("unknown", "stats") else ty_of(symbol.type)
    bound = shared.maxstringlen if result is Ty.STR else 0
    made = Function(symbol.name, [], result, bound)
    shared.functions[symbol] = made
    frame = Frame(shared, made.locals)
    made.params += [frame.local(p) for p in symbol.params]
    if symbol.intrinsic:  # one of several of this name: a call alone needs no function
        name, const = symbol.intrinsic
        args: list[ops.Expr] = [ops.Local(p) for p in made.params]
        pos = shared.pos(symbol.decl.tok)
        call = lower_expr.intrinsic(frame, name, args, const, pos)
        made.body = [ops.Return(call) if result is not Ty.VOID else ops.Eval(call)]
    elif isinstance(symbol.decl.body, ast.EmbeddedCode):
        c_body(shared, made, symbol.decl.body, members=shared.members_in_c)
    elif symbol.body is not None:
        made.body = lower_stmt.counted(frame, symbol.body.body, symbol.decl.tok)
    effects = shared.summaries.of(made.body)
    effects.locals_set = set()
    if not effects.unknown:
        shared.summaries.of_function[made] = effects


def _make_handler(shared: Shared, probe: DerivedProbe) -> None:
    module = shared.module
    handler = Handler(len(module.handlers))
    frame = Frame(shared, handler.locals, probe)
    tok = probe.definition.tok
    handler.body = lower_stmt.counted(frame, probe.body.body, tok)
    module.handlers.append(handler)
    condition = _condition(shared, probe.conditions)
    for i, (point, attach) in enumerate(probe.match.points):
        module.probes.append(
            Probe(
                point=point,
                name=probe.names[i] if probe.names else probe.script_point,
                handler=handler.index,
                attach=attach,
                origin=tok.location(),
                derivation=tuple(probe.chains[i] if probe.chains else probe.chain),
                condition=condition,
            )
        )


def _condition(shared: Shared, exprs: list[ast.Expr]) -> int:
    """Index of the arming condition, -1 when there is none."""
    if not exprs:
        return -1
    key = tuple(map(id, exprs))  # probes of one definition share the nodes
    if key in shared.conditions:
        return shared.conditions[key]
    frame = Frame(shared, [])
    made = lower_expr.value(frame, exprs[0])
    for expr in exprs[1:]:
        made = ops.Logic("&&", made, lower_expr.value(frame, expr))
    shared.module.conditions.append(made)
    shared.conditions[key] = len(shared.conditions)
    return shared.conditions[key]
