"""Parsing the ``@``-operators, and the components of target values."""

from __future__ import annotations

from pystap.diag.diagnostic import DiagnosticError
from pystap.lang import ast
from pystap.lang.cursor import IDENTIFIER, Cursor
from pystap.lang.lexer import KEYWORDS
from pystap.lang.operators import HISTOGRAMS, STAT_OPERATORS
from pystap.lang.tokens import Token
from pystap.typing import Final

_GURU_ONLY: Final = frozenset(("@const", "@kregister", "@kderef"))


class AtOperatorParser(Cursor):
    """The part of the expression grammar that starts with ``@``, and ``->``, ``[]``, ``$``."""

    def assignment(self) -> ast.Expr:
        """Any expression; see ExpressionParser."""
        raise NotImplementedError

    def index_list(self) -> list[ast.Expr | None]:
        """What stands between brackets; see ExpressionParser."""
        raise NotImplementedError

    def at_operator(self) -> ast.Expr:
        """An expression that starts with an @-word."""
        tok = self.tokens[self.at]
        op = tok.text
        if op[1:] not in self.builtins:
            raise self.unknown_operator(tok)
        if op in HISTOGRAMS:
            return self.bucket()
        if op in _GURU_ONLY and not self.privileged:
            raise self.error(f"using {op} operator not permitted; need stap -g")
        self.at += 1
        self.expect("(")
        self.enter()
        if op in STAT_OPERATORS:
            expr: ast.Expr = self.statistic(tok)
        elif op == "@cast":
            expr = self.cast(tok)
        elif op == "@var":
            expr = self.variable(tok)
        else:
            expr = ast.AtOp(tok=tok, name=op[1:], args=self.operands(op))
            self.expect(")")
        self.depth -= 1
        return expr

    def unknown_operator(self, tok: Token) -> DiagnosticError:
        """The error for an @-word that is neither operator nor macro."""
        from pystap.diag.suggest import suggest

        near = suggest(tok.text, ["@" + n for n in (*self.builtins, "define")])
        near += suggest(tok.text, ["@" + n for n in self.macro_names()])
        hint = f"did you mean {' or '.join(near[:3])}?" if near else None
        return self.error(f"unknown operator {tok.text}", tok, hint=hint)

    def macro_names(self) -> list[str]:
        """Macros that could have been meant."""
        return []

    def operands(self, op: str) -> list[ast.Expr]:
        """The operands of the simple @-operators."""
        if op in ("@perf", "@const", "@enum"):
            message = "expected literal string" if op == "@perf" else "expected string"
            return [self.string(message)]
        if op in ("@kregister", "@uregister"):
            return [self.literal_number()]
        if op in ("@kderef", "@uderef"):
            size = self.literal_number()
            self.expect(",")
            return [size, self.assignment()]
        if op == "@probewrite":
            return [self.written_variable()]
        args = [self.assignment()]
        if op == "@enumname":
            while len(args) < 3 and self.accept(","):
                args.append(self.string("expected string"))
        return args

    def written_variable(self) -> ast.Expr:
        """The script or target variable of ``@probewrite``."""
        if self.keys[self.at] != IDENTIFIER:
            raise self.error("expected identifier")
        tok = self.take()
        if tok.text[0] == "$":
            return ast.TargetVar(tok=tok, name=tok.text)
        return ast.Name(tok=tok, name=tok.text)

    # --- aggregates ---

    def statistic(self, tok: Token) -> ast.Expr:
        """``@count(x)`` and its like, behind the ``(``."""
        stat = ast.StatOp(tok=tok, op=tok.text[1:], stat=self.assignment())
        if self.keys[self.at] == ",":
            comma = self.take()
            if stat.op != "variance":
                raise self.error_at("not more than 1 parameter allowed", comma)
            stat.params.append(self.literal_number().value)
        self.expect(")")
        return stat

    def histogram(self) -> ast.Histogram:
        """``@hist_log(x)`` or ``@hist_linear(x, start, stop, step)``."""
        tok = self.take()
        self.expect("(")
        self.enter()
        linear = tok.text == "@hist_linear"
        result = ast.Histogram(tok=tok, kind="linear" if linear else "log", stat=self.assignment())
        for _ in range(3 if linear else 0):
            self.expect(",")
            result.params.append(self.literal_number().value)
        self.expect(")")
        self.depth -= 1
        return result

    def bucket(self) -> ast.Expr:
        """``@hist_log(x)[i]``: the only way a histogram can be a value."""
        tok = self.tokens[self.at]
        base = self.histogram()
        if not self.accept("["):
            raise self.error_at("base histogram operator where expression expected", tok)
        self.enter()
        indexes = self.index_list()
        self.depth -= 1
        return ast.Index(tok=tok, base=base, indexes=indexes)

    # --- target values ---

    def cast(self, tok: Token) -> ast.Expr:
        """``@cast(operand, "type"[, "modules"])`` behind the ``(``, with components."""
        operand = self.assignment()
        self.expect(",")
        type_name = self.string("expected string").value
        module = self.optional_string()
        self.expect(")")
        return ast.Cast(
            tok=tok,
            operand=operand,
            type_name=type_name,
            module=module,
            components=self.components(),
        )

    def variable(self, tok: Token) -> ast.Expr:
        """``@var("name"[, "module"])`` behind the ``(``, with components."""
        target = self.string("expected string").value
        module = self.optional_string()
        self.expect(")")
        return ast.AtVar(tok=tok, target=target, module=module, components=self.components())

    def optional_string(self) -> str | None:
        """``, "text"`` or nothing."""
        return self.string("expected string").value if self.accept(",") else None

    def component_follows(self) -> bool:
        """Whether ``->``, ``[`` or a pretty-printing ``$`` comes next."""
        key = self.keys[self.at]
        if key == "->" or key == "[":
            return True
        return key == IDENTIFIER and self.tokens[self.at].text in ("$", "$$")

    def components(self) -> list[ast.Component]:
        """All ``->member``, ``[index]`` and at last ``$`` or ``$$``."""
        result: list[ast.Component] = []
        while not (result and isinstance(result[-1], ast.Pretty)):
            key = self.keys[self.at]
            tok = self.tokens[self.at]
            if key == "->":
                self.at += 1
                result += self.member()
            elif key == "[":
                self.at += 1
                self.enter()
                index = self.assignment()
                self.depth -= 1
                self.expect("]")
                result.append(ast.Subscript(index=index, tok=tok))
            elif key == IDENTIFIER and tok.text in ("$", "$$"):
                self.at += 1
                result.append(ast.Pretty(depth=len(tok.text), tok=tok))
            else:
                return result
        self.no_more_components()
        return result

    def no_more_components(self) -> None:
        """Nothing may follow ``$`` or ``$$``."""
        if self.keys[self.at] in ("->", "["):
            raise self.error("-> and [ are not accepted for a pretty-printing variable")

    def member(self) -> list[ast.Component]:
        """The name behind ``->`` (keywords are allowed) and the ``$`` that came glued to it."""
        key = self.keys[self.at]
        if key != IDENTIFIER and key not in KEYWORDS:
            raise self.error("expected identifier or keyword")
        tok = self.take()
        name, pretty = split_pretty(tok)
        return [ast.Member(name=name, tok=tok), *pretty]


def split_pretty(tok: Token) -> tuple[str, list[ast.Component]]:
    """Name and trailing ``$`` or ``$$`` of a token: ``$`` is a letter of names, so they come
    as one."""
    text = tok.text
    if not text.endswith("$") or not text.strip("$"):
        return text, []
    depth = 2 if text.endswith("$$") else 1
    return text[:-depth], [ast.Pretty(depth=depth, tok=tok)]
