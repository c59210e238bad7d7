"""``@enumname(value[, "type"[, "module"]])``: a function made for each enumeration."""

from __future__ import annotations

from pystap.diag.diagnostic import Diagnostic, DiagnosticError
from pystap.lang import ast
from pystap.lang.tokens import Token
from pystap.sema.casts import enumerators
from pystap.sema.program import FunctionSymbol, LocalSymbol
from pystap.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pystap.sema.work import Work


def enum_name(work: Work, node: ast.AtOp) -> ast.Expr:
    """A call of the function that turns a number into its enumerator's name.

    Numbers without a name give their decimal text.  Raises ``DiagnosticError``.
    """
    values = _values(work, node)
    names: dict[int, str] = {}
    for name, value in values:
        names.setdefault(value, name)
    key = tuple(sorted(names.items()))
    symbol = work.enum_functions.get(key)
    if symbol is None:
        symbol = _make(f"__enumname_{len(work.enum_functions)}", list(key), node.tok)
        work.enum_functions[key] = symbol
    return ast.Call(
        tok=node.tok, type="string", name=symbol.name, args=[node.args[0]], functions=[symbol]
    )


def _values(work: Work, node: ast.AtOp) -> list[tuple[str, int]]:
    """The enumeration: named by the second argument or known from the value's own type."""
    from pystap.debuginfo import btftypes
    from pystap.probes.target import CType

    texts = [arg.value for arg in node.args[1:] if isinstance(arg, ast.String)]
    if len(texts) != len(node.args) - 1:
        raise _error("the type and module of @enumname must be literal strings", node.tok)
    if texts:
        return enumerators(texts[0], texts[1] if len(texts) > 1 else None, work.env, node.tok)
    ctype = node.args[0].ctype
    if isinstance(ctype, CType) and not ctype.pointers:
        view = ctype.btf.type(ctype.btf.resolve(ctype.type_id))
        if isinstance(view, btftypes.Enum):
            return list(view.values)
    raise _error(
        "the enumeration of this value is not known",
        node.tok,
        hint='name it: @enumname(value, "TYPE")',
    )


def _make(name: str, values: list[tuple[int, str]], tok: Token) -> FunctionSymbol:
    """``function NAME:string (value:long)``, a decision tree over the sorted values."""
    param = LocalSymbol("value", tok, "long")
    decimal = ast.Print(
        tok=tok,
        name="sprintf",
        args=[ast.Name(tok=tok, name="value")],
        format=ast.String(tok=tok, value="%d"),
    )
    statements: list[ast.Stmt] = [ast.Return(tok=tok, value=decimal)]
    if values:
        statements.insert(0, _decide(values, tok))
    body = ast.Block(tok=tok, body=statements)
    decl = ast.FunctionDef(
        tok=tok,
        name=name,
        params=[ast.Param(name="value", tok=tok, type="long")],
        type="string",
        priority=None,
        body=body,
        private=True,
    )
    symbol = FunctionSymbol(name, decl, [param], body, user=False, type="string")
    symbol.locals = {"value": param}
    return symbol


def _decide(values: list[tuple[int, str]], tok: Token) -> ast.Stmt:
    middle = len(values) // 2
    value, name = values[middle]
    number = ast.Number(tok=tok, value=value)
    operand = ast.Name(tok=tok, name="value")
    if len(values) == 1:
        found = ast.Return(tok=tok, value=ast.String(tok=tok, value=name))
        equal = ast.Compare(tok=tok, op="==", left=operand, right=number)
        return ast.If(tok=tok, cond=equal, then=found, orelse=None)
    return ast.If(
        tok=tok,
        cond=ast.Compare(tok=tok, op="<", left=operand, right=number),
        then=_decide(values[:middle], tok),
        orelse=_decide(values[middle:], tok),
    )


def _error(message: str, tok: Token, hint: str | None = None) -> DiagnosticError:
    return DiagnosticError(Diagnostic("semantic error", message, tok, hint=hint))
