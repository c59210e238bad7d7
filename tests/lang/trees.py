"""Hypothesis strategies for well-formed syntax trees: those a parser can make."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from pystap.lang import ast
from pystap.lang.operators import BINARY, COMPARE
from pystap.lang.source import Source
from pystap.lang.tokens import Token

TOK = Token("junk", "", Source("generated", ""), 0)
LONG = st.integers(-(2**63), 2**63 - 1) | st.integers(0, 9)
NAME = st.sampled_from(["a", "b", "foo", "x1", "_y", "a$b", "limits", "priv"])
FUNCTION = st.sampled_from(["f", "g", "pid", "strlen", "gettimeofday_us"])
MEMBER = st.sampled_from(["m", "next", "string", "f_path", "if"])
BYTES = st.characters(codec="latin-1")
TEXT = st.text(BYTES, max_size=6) | st.sampled_from(["", '"', "\\", "\\n", "%d\n", "a\0b", "\xc3"])
_NOT_BINARY = {"in", *(op for op, level in BINARY.items() if level == COMPARE)}
CODE = st.text(BYTES, max_size=8).filter(lambda t: "%}" not in t and not t.endswith("%"))


def node(cls: type, **fields: Any) -> st.SearchStrategy[Any]:
    """A node of ``cls`` with fields drawn from strategies (or plain values)."""
    drawn = {n: f if isinstance(f, st.SearchStrategy) else st.just(f) for n, f in fields.items()}
    return st.builds(cls, tok=st.just(TOK), **drawn)


def string() -> st.SearchStrategy[ast.String]:
    return node(ast.String, value=TEXT)


def number() -> st.SearchStrategy[ast.Number]:
    return node(ast.Number, value=LONG)


def name() -> st.SearchStrategy[ast.Name]:
    return node(ast.Name, name=NAME)


def _components(exprs: st.SearchStrategy[Any], least: int) -> st.SearchStrategy[list[Any]]:
    part = node(ast.Member, name=MEMBER) | node(ast.Subscript, index=exprs)
    parts = st.lists(part, min_size=least, max_size=3)
    pretty = node(ast.Pretty, depth=st.integers(1, 2))
    return parts | st.tuples(st.lists(part, max_size=2), pretty).map(lambda t: [*t[0], t[1]])


def _addressed(target: Any) -> Any:
    """What ``&`` makes of a target value without components, as the parser does it."""
    if isinstance(target, ast.Autocast) and not target.components and not target.address_of:
        target.address_of = True
    operand = getattr(target, "operand", None)
    targets = (ast.TargetVar, ast.AtVar, ast.Cast, ast.Autocast)
    if isinstance(target, ast.Autocast) and not target.components and isinstance(operand, targets):
        operand.address_of = True
        return operand
    return target


def _target_values(exprs: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    parts = _components(exprs, 0)
    module = st.none() | TEXT
    return st.one_of(
        node(
            ast.TargetVar,
            name=st.sampled_from(["$x", "$$vars", "$return", "$a$b"]),
            components=parts,
            address_of=st.booleans(),
        ),
        node(ast.AtVar, target=TEXT, module=module, components=parts, address_of=st.booleans()),
        node(
            ast.Cast,
            operand=exprs,
            type_name=TEXT,
            module=module,
            components=parts,
            address_of=st.booleans(),
        ),
        node(
            ast.Autocast,
            operand=exprs,
            components=_components(exprs, 1),
            address_of=st.booleans(),
        ),
        node(ast.Autocast, operand=exprs, components=st.builds(list), address_of=True).map(
            _addressed
        ),
    )


def _histograms(exprs: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    linear = st.lists(LONG, min_size=3, max_size=3)
    return node(ast.Histogram, kind="log", stat=exprs) | node(
        ast.Histogram, kind="linear", stat=exprs, params=linear
    )


def _statistics(exprs: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    plain = st.sampled_from(["count", "sum", "min", "max", "avg", "variance"])
    return st.one_of(
        node(ast.StatOp, op=plain, stat=exprs),
        node(ast.StatOp, op="variance", stat=exprs, params=st.lists(LONG, min_size=1, max_size=1)),
        node(ast.Index, base=_histograms(exprs), indexes=st.lists(exprs, min_size=1, max_size=1)),
    )


def _prints(exprs: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    some = st.lists(exprs, min_size=1, max_size=3)
    family = st.sampled_from(["print", "println", "sprint", "sprintln"])
    return st.one_of(
        node(ast.Print, name=st.sampled_from(["print", "sprint", "print_char"]), args=some),
        node(ast.Print, name=st.sampled_from(["println", "sprintln"]), args=st.builds(list)),
        node(
            ast.Print,
            name=st.sampled_from(["printf", "sprintf"]),
            args=st.lists(exprs, max_size=2),
            format=string(),
        ),
        node(
            ast.Print,
            name=st.sampled_from(["printd", "printdln", "sprintd", "sprintdln"]),
            args=st.lists(exprs, min_size=2, max_size=3),
            delimiter=string(),
        ),
        node(ast.Print, name=family, args=_histograms(exprs).map(lambda h: [h])),
    )


def _at_operators(exprs: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    one = st.lists(exprs, min_size=1, max_size=1)
    sized = st.tuples(number(), exprs).map(list)
    return st.one_of(
        node(ast.AtOp, name=st.sampled_from(["defined", "entry", "enumname"]), args=one),
        node(
            ast.AtOp,
            name=st.sampled_from(["perf", "const", "enum"]),
            args=string().map(lambda s: [s]),
        ),
        node(ast.AtOp, name="probewrite", args=name().map(lambda n: [n])),
        node(ast.AtOp, name="kregister", args=number().map(lambda n: [n])),
        node(ast.AtOp, name=st.sampled_from(["kderef", "uderef"]), args=sized),
        node(ast.AtOp, name="enumname", args=st.tuples(exprs, string(), string()).map(list)),
    )


def _compound(exprs: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    binary = st.sampled_from(
        ["+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>", ">>>", "&&", "||", "."]
    )
    assign = st.sampled_from(
        ["=", "<<<", "+=", "-=", "*=", "/=", "%=", "<<=", ">>=", "&=", "^=", "|=", ".="]
    )
    indexes = st.lists(st.none() | exprs, min_size=1, max_size=3)
    return st.one_of(
        node(ast.Unary, op=st.sampled_from("+-!~"), operand=exprs),
        node(ast.Crement, op=st.sampled_from(["++", "--"]), prefix=st.booleans(), operand=exprs),
        node(ast.Binary, op=binary, left=exprs, right=exprs),
        node(
            ast.Compare,
            op=st.sampled_from(["<", ">", "<=", ">=", "==", "!="]),
            left=exprs,
            right=exprs,
        ),
        node(ast.RegexMatch, left=exprs, pattern=string(), negated=st.booleans()),
        node(ast.ArrayIn, indexes=indexes, array=name()),
        node(ast.Ternary, cond=exprs, yes=exprs, no=exprs),
        node(ast.Assign, op=assign, target=exprs, value=exprs),
        node(ast.Index, base=name(), indexes=indexes),
        node(ast.Call, name=FUNCTION, args=st.lists(exprs, max_size=3)),
        _statistics(exprs),
        _prints(exprs),
        _target_values(exprs),
        _at_operators(exprs),
    )


def expressions() -> st.SearchStrategy[Any]:
    """Any expression."""
    leaves = st.one_of(number(), string(), name(), node(ast.EmbeddedExpr, code=CODE))
    return st.deferred(lambda: st.recursive(leaves, _compound, max_leaves=12))


def _foreach(exprs: st.SearchStrategy[Any], body: st.SearchStrategy[Any]) -> Any:
    @st.composite
    def build(draw: Any) -> ast.Foreach:
        keys = draw(st.lists(name(), min_size=1, max_size=3))
        histogram = draw(st.booleans())
        sort = draw(st.sampled_from(["", "+", "-"]))
        column = draw(st.integers(0, len(keys))) if sort else 0
        by_value = sort and column == 0 and draw(st.booleans())
        indexes = st.lists(st.none() | exprs, min_size=1, max_size=2)
        return ast.Foreach(
            tok=TOK,
            keys=keys,
            value=draw(st.none() | name()),
            base=draw(_histograms(exprs) if histogram else name()),
            slice=None if histogram else draw(st.none() | indexes),
            sort=sort,
            sort_column=column,
            sort_op=draw(st.sampled_from(["sum", "avg", "variance"])) if by_value else None,
            limit=draw(st.none() | exprs),
            body=draw(body),
        )

    return build()


def open_if(stmt: Any) -> bool:
    """Whether an ``else`` put behind a statement would belong to an ``if`` in it."""
    if isinstance(stmt, ast.If):
        return stmt.orelse is None or open_if(stmt.orelse)
    body = getattr(stmt, "body", None) if not isinstance(stmt, ast.Block) else None
    return open_if(body) if isinstance(stmt, (ast.While, ast.For, ast.Foreach)) else False


def statements() -> st.SearchStrategy[Any]:
    """Any statement of a function body."""
    exprs = expressions()
    leaves = st.one_of(
        node(ast.ExprStmt, expr=exprs),
        node(ast.Null),
        node(ast.Break),
        node(ast.Continue),
        node(ast.Next),
        node(ast.Return, value=st.none() | exprs),
        node(ast.Delete, target=exprs),
    )

    def extend(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        block = node(ast.Block, body=st.lists(inner, max_size=3))
        maybe = st.none() | exprs
        return st.one_of(
            block,
            node(ast.If, cond=exprs, then=inner, orelse=st.none() | inner).filter(
                lambda s: s.orelse is None or not open_if(s.then)
            ),
            node(ast.While, cond=exprs, body=inner),
            node(ast.For, init=maybe, cond=maybe, step=maybe, body=inner),
            _foreach(exprs, inner),
            node(ast.TryCatch, body=block, var=st.none() | name(), handler=block),
        )

    return st.deferred(lambda: st.recursive(leaves, extend, max_leaves=5))


def _points() -> st.SearchStrategy[Any]:
    component = node(
        ast.PointComponent,
        name=st.sampled_from(["a", "function", "*", "**", "sys_*", "*x*y", "return", "*64"]),
        arg=st.none() | LONG | TEXT,
    )
    return node(
        ast.ProbePoint,
        components=st.lists(component, min_size=1, max_size=3),
        condition=st.none() | expressions(),
    ).flatmap(
        lambda p: st.sampled_from(["", "?", "!"]).map(
            lambda mark: ast.ProbePoint(
                tok=TOK,
                components=p.components,
                condition=p.condition,
                optional=mark == "?",
                sufficient=mark == "!",
            )
        )
    )


def _alias_name(point: ast.ProbePoint) -> ast.ProbePoint:
    return ast.ProbePoint(tok=TOK, components=point.components, condition=point.condition)


def _without_return(block: ast.Block) -> bool:
    from pystap.lang.visit import walk

    return not any(isinstance(n, ast.Return) for n in walk(block))


def _global_declarations() -> st.SearchStrategy[Any]:
    @st.composite
    def build(draw: Any) -> ast.GlobalDecl:
        private = draw(st.booleans())
        variables = []
        for key in draw(st.lists(NAME, min_size=1, max_size=3, unique=True)):
            size = draw(st.none() | st.integers(1, 2**31 - 1))
            init = None if size is not None else draw(st.none() | number() | string())
            wrap = draw(st.booleans())
            variables.append(
                ast.GlobalVar(name=key, tok=TOK, init=init, size=size, wrap=wrap, private=private)
            )
        return ast.GlobalDecl(tok=TOK, variables=variables)

    return build()


def items() -> st.SearchStrategy[Any]:
    """Any top-level item."""
    block = node(ast.Block, body=st.lists(statements(), max_size=3))
    probe_block = block.filter(_without_return)
    kind = st.sampled_from(["unknown", "long", "string"])
    points = st.lists(_points(), min_size=1, max_size=2)
    names = st.lists(_points().map(_alias_name), min_size=1, max_size=2)
    param = node(ast.Param, type=kind, name=NAME)
    params = st.lists(param, max_size=3, unique_by=lambda p: p.name)
    return st.one_of(
        node(ast.ProbeDef, points=points, body=probe_block),
        node(ast.AliasDef, names=names, points=points, prologue=probe_block, epilogue=None),
        node(ast.AliasDef, names=names, points=points, prologue=None, epilogue=probe_block),
        node(ast.AliasDef, names=names, points=points, prologue=probe_block, epilogue=probe_block),
        _global_declarations(),
        node(
            ast.FunctionDef,
            name=FUNCTION,
            params=params,
            type=kind,
            priority=st.none() | st.integers(1, 9),
            body=block | node(ast.EmbeddedCode, code=CODE),
            private=st.booleans(),
        ),
        node(ast.EmbeddedCode, code=CODE),
    )
