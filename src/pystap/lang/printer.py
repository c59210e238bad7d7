"""Syntax trees as text that parses back to the same tree.

Parentheses are written where the grammar needs them and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pystap.lang import ast
from pystap.lang.limits import allow_deep_trees
from pystap.lang.operators import BINARY, IN, OR, SHIFT, UNARY
from pystap.typing import Any, Final

# Levels beyond those of the binary operators.
_ASSIGN, _TERNARY, _CREMENT, _VALUE = -1, 0, UNARY + 1, UNARY + 2

_ESCAPES: Final = {n: f"\\{n:03o}" for n in (*range(32), 127)}
_ESCAPES.update({ord(c): f"\\{e}" for c, e in zip('\a\b\t\n\v\f\r"\\', 'abtnvfr"\\')})


def print_file(file: ast.File) -> str:
    """A whole file, headed by a comment with its name."""
    allow_deep_trees()
    lines = [f"# file {file.name}"]
    for item in file.items:
        lines += _item(item)
    return "\n".join(lines) + "\n"


def print_expr(expr: ast.Expr) -> str:
    """One expression."""
    return _expr(expr)[0]


def print_stmt(stmt: ast.Stmt) -> str:
    """One statement, on as many lines as it takes, without a newline at the end."""
    return "\n".join(_stmt(stmt, ""))


def print_probe_point(point: ast.ProbePoint) -> str:
    """One probe point with its ``?``, ``!`` and condition."""
    text = ".".join(_component(c) for c in point.components)
    if point.optional:
        text += "?"
    if point.sufficient:
        text += "!"
    if point.condition is not None:
        text += f" if ({print_expr(point.condition)})"
    return text


def quote(text: str) -> str:
    """A string literal."""
    return f'"{text.translate(_ESCAPES)}"'


# --- top level ----------------------------------------------------------------------------------


def _item(item: ast.TopLevel) -> list[str]:
    if isinstance(item, ast.EmbeddedCode):
        return [f"%{{{item.code}%}}"]
    if isinstance(item, ast.GlobalDecl):
        private = bool(item.variables) and item.variables[0].private
        word = "private" if private else "global"
        return [f"{word} {', '.join(map(_global, item.variables))}"]
    if isinstance(item, ast.FunctionDef):
        return _function(item)
    points = ", ".join(map(print_probe_point, item.points))
    if isinstance(item, ast.ProbeDef):
        return _braced(f"probe {points} ", item.body, "")
    return _alias(item, points)


def _global(variable: ast.GlobalVar) -> str:
    text = variable.name
    if variable.wrap:
        text += "%"
    if variable.size is not None:
        text += f"[{variable.size}]"
    if variable.init is not None:
        text += f" = {_literal(variable.init.value)}"
    return text


def _function(function: ast.FunctionDef) -> list[str]:
    head = "private function " if function.private else "function "
    head += _typed(function.name, function.type)
    head += f"({', '.join(_typed(p.name, p.type) for p in function.params)})"
    if function.priority is not None:
        head += f":{function.priority}"
    if isinstance(function.body, ast.EmbeddedCode):
        return [f"{head} %{{{function.body.code}%}}"]
    return _braced(head + " ", function.body, "")


def _typed(name: str, kind: str) -> str:
    return name if kind == "unknown" else f"{name}:{kind}"


def _alias(alias: ast.AliasDef, points: str) -> list[str]:
    bodies = [b for b in (alias.prologue, alias.epilogue) if b is not None]
    sign = "=" if alias.prologue is not None else "+="
    head = "probe " + "".join(f"{print_probe_point(n)} {sign} " for n in alias.names) + points
    lines = _braced(head + " ", bodies[0], "")
    if len(bodies) > 1:
        lines[-1] += ","
        lines += _braced("", bodies[1], "")
    return lines


def _component(component: ast.PointComponent) -> str:
    if component.arg is None:
        return component.name
    if isinstance(component.arg, int):
        return f"{component.name}({ast.point_number(component.arg)})"
    return f"{component.name}({_literal(component.arg)})"


def _literal(value: int | str) -> str:
    return str(value) if isinstance(value, int) else quote(value)


# --- statements ---------------------------------------------------------------------------------


def _stmt(stmt: ast.Stmt, indent: str) -> list[str]:
    lines: list[str] = _STATEMENTS[stmt.__class__](stmt, indent)
    return lines


def _braced(head: str, block: ast.Block, indent: str) -> list[str]:
    if not block.body:
        return [f"{indent}{head}{{}}"]
    lines = [f"{indent}{head}{{"]
    inner = indent + "  "
    for stmt in block.body:
        lines += _stmt(stmt, inner)
    lines.append(f"{indent}}}")
    return lines


def _governed(head: str, body: ast.Stmt, indent: str) -> list[str]:
    """``head`` and the statement it governs."""
    if isinstance(body, ast.Block):
        return _braced(head + " ", body, indent)
    return [indent + head, *_stmt(body, indent + "  ")]


def _if(stmt: ast.If, indent: str) -> list[str]:
    then = stmt.then
    if stmt.orelse is not None and _ends_in_open_if(then):
        # Without braces the else would go to the inner if; no parser makes such a tree.
        then = ast.Block(tok=then.tok, body=[then])
    lines = _governed(f"if ({_text(stmt.cond)})", then, indent)
    if stmt.orelse is None:
        return lines
    if isinstance(stmt.orelse, ast.If):
        rest = _stmt(stmt.orelse, indent)
        rest[0] = rest[0][len(indent) :]
    else:
        rest = _governed("", stmt.orelse, indent)
        rest[0] = rest[0].strip()
    if isinstance(then, ast.Block):
        lines[-1] += f" else {rest[0]}" if rest[0] else " else"
    else:
        lines.append(f"{indent}else {rest[0]}".rstrip())
    return lines + rest[1:]


def _ends_in_open_if(stmt: ast.Stmt) -> bool:
    while True:
        if isinstance(stmt, ast.If):
            if stmt.orelse is None:
                return True
            stmt = stmt.orelse
        elif isinstance(stmt, (ast.While, ast.For, ast.Foreach)):
            stmt = stmt.body
        else:
            return False


def _for(stmt: ast.For, indent: str) -> list[str]:
    parts = ["" if part is None else _text(part) for part in (stmt.init, stmt.cond, stmt.step)]
    return _governed(f"for ({'; '.join(parts)})", stmt.body, indent)


def _foreach(stmt: ast.Foreach, indent: str) -> list[str]:
    keys = [key.name for key in stmt.keys]
    at_value = stmt.sort_column == 0
    if not at_value:
        keys[stmt.sort_column - 1] += stmt.sort
    head = keys[0] if len(keys) == 1 else f"[{', '.join(keys)}]"
    if stmt.value is not None:
        head = f"{stmt.value.name} = {head}"
    head += f" in {print_expr(stmt.base)}"
    if stmt.slice is not None:
        head += f"[{_indexes(stmt.slice)}]"
    if stmt.sort_op is not None:
        head += f" @{stmt.sort_op}"
    if at_value:
        head += stmt.sort
    if stmt.limit is not None:
        head += f" limit {_text(stmt.limit)}"
    return _governed(f"foreach ({head})", stmt.body, indent)


def _try(stmt: ast.TryCatch, indent: str) -> list[str]:
    lines = _braced("try ", stmt.body, indent)
    catch = "catch " if stmt.var is None else f"catch ({stmt.var.name}) "
    handler = _braced(catch, stmt.handler, indent)
    lines[-1] += " " + handler[0].lstrip()
    return lines + handler[1:]


def _return(stmt: ast.Return, indent: str) -> list[str]:
    return [f"{indent}return;" if stmt.value is None else f"{indent}return {_text(stmt.value)};"]


def _embedded_stmt(stmt: ast.EmbeddedCode, indent: str) -> list[str]:
    return [f"{indent}%{{{stmt.code}%}}"]


_STATEMENTS: Final[dict[type, Callable[[Any, str], list[str]]]] = {
    ast.Block: lambda s, i: _braced("", s, i),
    ast.ExprStmt: lambda s, i: [f"{i}{_text(s.expr)};"],
    ast.Null: lambda _, i: [f"{i};"],
    ast.If: _if,
    ast.While: lambda s, i: _governed(f"while ({_text(s.cond)})", s.body, i),
    ast.For: _for,
    ast.Foreach: _foreach,
    ast.Return: _return,
    ast.Break: lambda _, i: [f"{i}break;"],
    ast.Continue: lambda _, i: [f"{i}continue;"],
    ast.Next: lambda _, i: [f"{i}next;"],
    ast.Delete: lambda s, i: [f"{i}delete {_text(s.target)};"],
    ast.TryCatch: _try,
    ast.EmbeddedCode: _embedded_stmt,
}

# --- expressions --------------------------------------------------------------------------------


def _text(expr: ast.Expr) -> str:
    return _expr(expr)[0]


def _expr(expr: ast.Expr) -> tuple[str, int]:
    """Text of an expression and how tightly its outermost operator binds."""
    result: tuple[str, int] = _EXPRESSIONS[expr.__class__](expr)
    return result


def _at_least(expr: ast.Expr, level: int) -> str:
    text, own = _expr(expr)
    return text if own >= level else f"({text})"


def _indexes(indexes: Iterable[ast.Expr | None]) -> str:
    return ", ".join("*" if index is None else _text(index) for index in indexes)


def _list(exprs: Iterable[ast.Expr]) -> str:
    return ", ".join(map(_text, exprs))


def _number(expr: ast.Number) -> tuple[str, int]:
    # A minus would be an operator: what is negative was written as its two's complement.
    return (str(expr.value) if expr.value >= 0 else hex(expr.value + 2**64)), _VALUE


def _index(expr: ast.Index) -> tuple[str, int]:
    return f"{_text(expr.base)}[{_indexes(expr.indexes)}]", _VALUE


def _unary(expr: ast.Unary) -> tuple[str, int]:
    text, level = _expr(expr.operand)
    if level < UNARY:
        text = f"({text})"
    # Not to become "--", "++" or "!~".
    space = " " if expr.op + text[0] in ("--", "++", "!~") else ""
    return f"{expr.op}{space}{text}", UNARY


def _crement(expr: ast.Crement) -> tuple[str, int]:
    text = _at_least(expr.operand, _VALUE)
    return (f"{expr.op}{text}" if expr.prefix else f"{text}{expr.op}"), _CREMENT


def _binary(expr: ast.Binary | ast.Compare) -> tuple[str, int]:
    level = BINARY[expr.op]
    left = _at_least(expr.left, level)
    right = _at_least(expr.right, level + 1)
    return f"{left} {expr.op} {right}", level


def _regex(expr: ast.RegexMatch) -> tuple[str, int]:
    op = "!~" if expr.negated else "=~"
    # Nothing compares with a match without parentheses: it counts as an ``in`` does.
    return f"{_at_least(expr.left, SHIFT)} {op} {quote(expr.pattern.value)}", IN


def _array_in(expr: ast.ArrayIn) -> tuple[str, int]:
    single = expr.indexes[0]
    if len(expr.indexes) == 1 and single is not None:
        left, level = _expr(single)
        if level <= IN and not isinstance(single, ast.RegexMatch):
            left = f"({left})"
    else:
        left = f"[{_indexes(expr.indexes)}]"
    return f"{left} in {expr.array.name}", IN


def _ternary(expr: ast.Ternary) -> tuple[str, int]:
    cond = _at_least(expr.cond, OR)
    return f"{cond} ? {_text(expr.yes)} : {_at_least(expr.no, _TERNARY)}", _TERNARY


def _assign(expr: ast.Assign) -> tuple[str, int]:
    return f"{_at_least(expr.target, _TERNARY)} {expr.op} {_text(expr.value)}", _ASSIGN


def _stat(expr: ast.StatOp | ast.Histogram) -> tuple[str, int]:
    op = expr.op if isinstance(expr, ast.StatOp) else f"hist_{expr.kind}"
    params = "".join(f", {p}" for p in expr.params)
    return f"@{op}({_text(expr.stat)}{params})", _VALUE


def _print(expr: ast.Print) -> tuple[str, int]:
    args = [_text(arg) for arg in expr.args]
    if expr.format is not None:
        args.insert(0, quote(expr.format.value))
    if expr.delimiter is not None:
        args.insert(0, quote(expr.delimiter.value))
    return f"{expr.name}({', '.join(args)})", _VALUE


def _target(text: str, expr: Any) -> tuple[str, int]:
    """A target value: its root's text, components and ``&``."""
    for part in expr.components:
        if isinstance(part, ast.Member):
            text += f"->{part.name}"
        elif isinstance(part, ast.Subscript):
            text += f"[{_text(part.index)}]"
        else:
            text += "$" * part.depth
    return (f"&{text}" if expr.address_of else text), _VALUE


def _strings(first: str, second: str | None) -> str:
    return quote(first) if second is None else f"{quote(first)}, {quote(second)}"


def _cast(expr: ast.Cast) -> tuple[str, int]:
    names = _strings(expr.type_name, expr.module)
    return _target(f"@cast({_text(expr.operand)}, {names})", expr)


def _autocast(expr: ast.Autocast) -> tuple[str, int]:
    operand = expr.operand
    text, level = _expr(operand)
    # Behind these "->" or "[" would be taken for their own.
    if level < _VALUE or isinstance(
        operand, (ast.Name, ast.TargetVar, ast.AtVar, ast.Cast, ast.Autocast)
    ):
        text = f"({text})"
    return _target(text, expr)


_EXPRESSIONS: Final[dict[type, Callable[[Any], tuple[str, int]]]] = {
    ast.Number: _number,
    ast.String: lambda e: (quote(e.value), _VALUE),
    ast.Name: lambda e: (e.name, _VALUE),
    ast.Index: _index,
    ast.Call: lambda e: (f"{e.name}({_list(e.args)})", _VALUE),
    ast.EmbeddedExpr: lambda e: (f"%{{{e.code}%}}", _VALUE),
    ast.Unary: _unary,
    ast.Crement: _crement,
    ast.Binary: _binary,
    ast.Compare: _binary,
    ast.RegexMatch: _regex,
    ast.ArrayIn: _array_in,
    ast.Ternary: _ternary,
    ast.Assign: _assign,
    ast.StatOp: _stat,
    ast.Histogram: _stat,
    ast.Print: _print,
    ast.TargetVar: lambda e: _target(e.name, e),
    ast.AtVar: lambda e: _target(f"@var({_strings(e.target, e.module)})", e),
    ast.Cast: _cast,
    ast.Autocast: _autocast,
    ast.AtOp: lambda e: (f"@{e.name}({_list(e.args)})", _VALUE),
}
