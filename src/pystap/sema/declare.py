"""Enter the definitions of a file into the tables: globals, functions, aliases, probes."""

from __future__ import annotations

from pystap.ir.intrinsics import INTRINSICS
from pystap.ir.types import Ty
from pystap.lang import ast
from pystap.lang.tokens import Token
from pystap.sema.program import FunctionSymbol, GlobalSymbol, LocalSymbol
from pystap.sema.work import Alias, FileScope, Work, home, is_user

_INTRINSIC = "pystap:"
_TYPES: dict[Ty, ast.ValueType] = {Ty.LONG: "long", Ty.STR: "string", Ty.VOID: "unknown"}


def declare_file(work: Work, tree: ast.File, *, looked_at: bool = False) -> None:
    """Record everything ``tree`` defines; its probes wait in ``work.pending``.

    Those of a library file that is only ``looked_at``, for what a wildcard may mean, wait until
    something of the file is used.
    """
    if not tree.items:
        return
    source = home(tree.items[0].tok).source
    scope = work.scopes.setdefault(source, FileScope())
    probes = work.looked_at.setdefault(source, []) if looked_at else work.pending
    for item in tree.items:
        if isinstance(item, ast.GlobalDecl):
            for variable in item.variables:
                _declare_global(work, scope, variable)
        elif isinstance(item, ast.FunctionDef):
            _declare_function(work, scope, item)
        elif isinstance(item, ast.AliasDef):
            _declare_alias(work, item)
        elif isinstance(item, ast.ProbeDef):
            probes.append(item)
        else:
            work.embedded.append(item)


def use_file(work: Work, tok: Token) -> None:
    """Something is used that is defined at ``tok``."""
    if work.looked_at:
        work.pending += work.looked_at.pop(home(tok).source, ())


def _declare_global(work: Work, scope: FileScope, variable: ast.GlobalVar) -> None:
    user = is_user(variable.tok)
    other = scope.globals.get(variable.name)
    if other is None and not variable.private:
        other = work.globals.get(variable.name)
        if other is not None and other.user != user:
            other = None  # a user's global hides the library's, which keeps its own
    if other is not None:
        work.error("conflicting global variables", variable.tok, other.decl.tok)
        return
    symbol = GlobalSymbol(variable.name, variable, user)
    if variable.init is not None:
        symbol.keys, symbol.key_site = [], variable.tok
        symbol.written = True
    scope.globals[variable.name] = symbol
    if not variable.private and (user or variable.name not in work.globals):
        work.globals[variable.name] = symbol
    work.all_globals.append(symbol)


def _declare_function(work: Work, scope: FileScope, definition: ast.FunctionDef) -> None:
    params = [LocalSymbol(p.name, p.tok, p.type) for p in definition.params]
    _check_parameters(work, definition)
    body = definition.body if isinstance(definition.body, ast.Block) else None
    symbol = FunctionSymbol(
        definition.name, definition, params, body, is_user(definition.tok), definition.type
    )
    symbol.locals = {p.name: p for p in params}
    if isinstance(definition.body, ast.EmbeddedCode):
        _note_intrinsic(work, symbol, definition.body)
    if definition.private:
        _check_privacy(work, definition, work.functions.get(definition.name, []))
        scope.functions.setdefault(definition.name, []).append(symbol)
    else:
        _check_privacy(work, definition, scope.functions.get(definition.name, []))
        work.functions.setdefault(definition.name, []).append(symbol)
    work.declared.append(symbol)


def _check_parameters(work: Work, definition: ast.FunctionDef) -> None:
    seen: dict[str, ast.Param] = {}
    for param in definition.params:
        first = seen.setdefault(param.name, param)
        if first is not param:
            work.error(f"duplicate parameter name '{param.name}'", param.tok, first.tok)


def _check_privacy(work: Work, definition: ast.FunctionDef, others: list[FunctionSymbol]) -> None:
    """One file cannot have a private and a public function of one name and arity."""
    source = home(definition.tok).source
    for other in others:
        if home(other.decl.tok).source is source and len(other.params) == len(definition.params):
            work.error("conflicting functions", definition.tok, other.decl.tok)


def _note_intrinsic(work: Work, symbol: FunctionSymbol, body: ast.EmbeddedCode) -> None:
    """Recognise ``%{ pystap:NAME literal ... %}`` and give the function its types."""
    code = body.code.strip()
    if not code.startswith(_INTRINSIC):
        return
    first, *consts = _words(code.removeprefix(_INTRINSIC)) or [""]
    name = str(first)
    info = INTRINSICS.get(name)
    if info is None:
        work.error(f"unknown runtime operation '{name}'", body.tok)
        return
    if len(symbol.params) != len(info.args) or len(consts) != info.consts:
        work.error(
            f"runtime operation '{name}' takes {len(info.args)} parameters"
            f" and {info.consts} literals",
            body.tok,
        )
        return
    for param, ty in zip(symbol.params, info.args, strict=True):
        param.type = _TYPES[ty]
    symbol.type = _TYPES[info.result]
    symbol.intrinsic = (name, tuple(consts))


def _words(code: str) -> list[int | str]:
    """The name and literals of a runtime operation: words, numbers, quoted strings."""
    words: list[int | str] = []
    for position, part in enumerate(code.split('"')):
        if position % 2:
            words.append(part)
        else:
            words += [int(w) if w.lstrip("-").isdecimal() else w for w in part.split()]
    return words


def _declare_alias(work: Work, definition: ast.AliasDef) -> None:
    user = is_user(definition.tok)
    for point in definition.names:
        name = tuple((c.name, c.arg) for c in point.components)
        work.aliases.setdefault(name[0][0], []).append(Alias(name, definition, user))
