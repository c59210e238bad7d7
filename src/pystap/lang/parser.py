"""Pass 1: from one source to its syntax tree.

The steps are :mod:`lexer`, :mod:`preprocess` (with :mod:`expand` and :mod:`conditions`) and the
recursive descent parser, which is spread over the ``parse_*`` modules by part of the grammar.
"""

from __future__ import annotations

from collections.abc import Callable

from pystap.diag.diagnostic import Diagnostic, DiagnosticError, Diagnostics
from pystap.lang import ast
from pystap.lang.cursor import CODE, EOF, IDENTIFIER
from pystap.lang.environment import Environment
from pystap.lang.lexer import lex
from pystap.lang.limits import allow_deep_trees
from pystap.lang.macros import MacroLibrary
from pystap.lang.operators import TYPE_NAMES
from pystap.lang.parse_points import PointParser
from pystap.lang.preprocess import end_token, preprocess
from pystap.lang.source import Source
from pystap.lang.tokens import Token
from pystap.typing import Any, Final

_INT_MAX: Final = 2**31 - 1
_EXPECTED_TOP: Final = "expected 'probe', 'global', 'private', 'function', or '%{'"


def parse(
    source: Source,
    env: Environment,
    diags: Diagnostics,
    macros: MacroLibrary | None = None,
) -> ast.File:
    """Parse one file.

    Errors are added to ``diags``; after one, parsing goes on at the next top-level item, so the
    result holds what could be understood.  Never raises for bad input.  Notes in ``env`` which
    script arguments a user script uses.
    """
    allow_deep_trees()
    errors = len(diags.errors)
    tokens = lex(source, env, diags)
    used = preprocess(tokens, source, env, diags, macros)
    file = _Parser(used, end_token(source), env, diags, macros).file(source.name)
    if source.kind == "user":
        _note_argument_use(source, used, env)
        if not used and len(diags.errors) == errors:
            how = " after preprocessing" if tokens else ""
            diags.add(Diagnostic("error", f"Input file '{source.name}' is empty{how}."))
    return file


def warn_unused_args(env: Environment, diags: Diagnostics) -> None:
    """Warn about script arguments that no user script parsed in ``env`` has used."""
    for number in env.unused_args():
        diags.warn(f"unused command line option ${number}/@{number}")


def _note_argument_use(source: Source, tokens: list[Token], env: Environment) -> None:
    """A script that looks at ``argc`` or ``argv`` uses all its arguments."""
    if "argc" not in source.text and "argv" not in source.text:
        return
    for token in tokens:
        if token.kind == "identifier" and token.text.startswith(("argc", "argv")):
            env.use_all_args()
            return


class _Parser(PointParser):
    """Top-level items."""

    def __init__(
        self,
        tokens: list[Token],
        end: Token,
        env: Environment,
        diags: Diagnostics,
        macros: MacroLibrary | None,
    ) -> None:
        super().__init__(tokens, end, env)
        self.diags = diags
        self.macros = macros
        self.globals: dict[str, bool] = {}  # name: private

    def file(self, name: str) -> ast.File:
        """All items; the ones with errors are left out."""
        items: list[ast.TopLevel] = []
        while self.keys[self.at] != EOF:
            start = self.at
            try:
                items.append(self.item())
            except DiagnosticError as error:
                if error.diagnostic.message:
                    self.diags.add(error.diagnostic)
                self.depth = 0
                self.in_function = False
                self.recover(start)
        return ast.File(name=name, items=items)

    def recover(self, start: int) -> None:
        """Skip to where the next top-level item may begin."""
        self.at = max(self.at, start + 1)
        keys = self.keys
        while (key := keys[self.at]) != EOF:
            before = keys[self.at - 1]
            # In "kernel.function" and "x->private" these words are names.
            if (key == CODE or key in _ITEMS) and before not in (".", "->"):
                return
            self.at += 1

    def item(self) -> ast.TopLevel:
        """One top-level item."""
        handler = _ITEMS.get(self.keys[self.at])
        if handler is not None:
            return handler(self)
        if self.keys[self.at] == CODE:
            tok = self.embedded()
            return ast.EmbeddedCode(tok=tok, code=tok.text)
        raise self.error(_EXPECTED_TOP)

    def macro_names(self) -> list[str]:
        """Names of library macros, for suggestions."""
        return list(self.macros.names()) if self.macros is not None else []

    # --- probes ---

    def probe(self) -> ast.TopLevel:
        """``probe ... { }``, an alias if there is ``=`` or ``+=``."""
        tok = self.take()
        names: list[ast.ProbePoint] = []
        epilogue_style = False
        while True:
            points = self.points()
            key = self.keys[self.at]
            if key == "=" or key == "+=":
                names.append(self.is_plain(points, self.tokens[self.at]))
                epilogue_style |= key == "+="
                self.at += 1
                continue
            while self.accept(","):
                points += self.points()
                if self.keys[self.at] in ("=", "+="):
                    raise self.error("expected probe point specifier")
            break
        if self.keys[self.at] != "{":
            raise self.error("expected one of ', { } = +='")
        body = self.block()
        if not names:
            return ast.ProbeDef(tok=tok, points=points, body=body)
        return self.alias(tok, names, points, body, epilogue_style)

    def alias(
        self,
        tok: Token,
        names: list[ast.ProbePoint],
        points: list[ast.ProbePoint],
        body: ast.Block,
        epilogue_style: bool,
    ) -> ast.AliasDef:
        """An alias behind its first body."""
        result = ast.AliasDef(tok=tok, names=names, points=points, prologue=body, epilogue=None)
        if epilogue_style:
            result.prologue, result.epilogue = None, body
        if self.keys[self.at] == ",":
            if epilogue_style:
                raise self.error("Combined prologue and epilogue cannot be defined with '+='")
            self.at += 1
            result.epilogue = self.block()
        return result

    # --- globals ---

    def global_declaration(self) -> ast.TopLevel:
        """``global a, b``."""
        return self.variables(self.take(), private=False)

    def private_item(self) -> ast.TopLevel:
        """``private function`` or ``private [global] a, b``."""
        tok = self.take()
        if self.keys[self.at] == "function":
            return self.function(private=True)
        if not self.accept("global") and self.keys[self.at] != IDENTIFIER:
            raise self.error("expected 'function' or identifier")
        return self.variables(tok, private=True)

    def variables(self, tok: Token, private: bool) -> ast.GlobalDecl:
        """The list of a declaration and the semicolon it may end with."""
        variables = [self.variable_declaration(private)]
        while self.accept(","):
            variables.append(self.variable_declaration(private))
        self.end_statement()
        return ast.GlobalDecl(tok=tok, variables=variables)

    def variable_declaration(self, private: bool) -> ast.GlobalVar:
        """``name[%][[size]][= literal]``."""
        tok = self.tokens[self.at]
        declared = self.globals.get(tok.text) if self.keys[self.at] == IDENTIFIER else None
        if declared is not None:
            if declared != private:
                raise self.error("global versus private variable declaration conflict")
            raise self.error("duplicate global name")
        self.expect_identifier()
        self.globals[tok.text] = private
        variable = ast.GlobalVar(
            name=tok.text, tok=tok, init=None, size=None, wrap=False, private=private
        )
        if self.accept("%"):
            variable.wrap = True
        if self.accept("["):
            number = self.literal_number()
            if not 0 < number.value <= _INT_MAX:
                raise self.error("array size out of range", number.tok)
            variable.size = number.value
            self.expect("]")
        if self.keys[self.at] == "=":
            if variable.size is not None:
                raise self.error("only scalar globals can be initialized")
            self.at += 1
            variable.init = self.literal()
        return variable

    # --- functions ---

    def function(self, private: bool = False) -> ast.TopLevel:
        """``function name[:type](params)[:priority] body``."""
        self.take()
        tok = self.tokens[self.at]
        if self.keys[self.at] in TYPE_NAMES:
            self.at += 1
        elif tok.kind == "keyword":
            self.at += 1  # taken for a name: parsing does not resume at it
            raise self.error("expected identifier", tok)
        else:
            self.expect_identifier()
        result = self.declared_type()
        self.expect("(")
        params = self.parameters()
        priority = self.priority()
        body: ast.Block | ast.EmbeddedCode
        if self.keys[self.at] == CODE:
            code = self.embedded()
            body = ast.EmbeddedCode(tok=code, code=code.text)
        else:
            self.in_function = True
            body = self.block()
            self.in_function = False
        return ast.FunctionDef(
            tok=tok,
            name=tok.text,
            params=params,
            type=result,
            priority=priority,
            body=body,
            private=private,
        )

    def declared_type(self) -> ast.ValueType:
        """``:string``, ``:long`` or nothing."""
        if not self.accept(":"):
            return "unknown"
        if self.accept("string"):
            return "string"
        if self.accept("long"):
            return "long"
        raise self.error("expected 'string' or 'long'")

    def parameters(self) -> list[ast.Param]:
        """The parameters behind the ``(``, and the ``)``."""
        params: list[ast.Param] = []
        names: set[str] = set()
        while not self.accept(")"):
            tok = self.tokens[self.at]
            if tok.text in names and tok.kind == "identifier":
                raise self.error("duplicate parameter names")
            self.expect_identifier()
            names.add(tok.text)
            params.append(ast.Param(name=tok.text, tok=tok, type=self.declared_type()))
            if not self.accept(",") and self.keys[self.at] != ")":
                raise self.error("expected ',' or ')'")
        return params

    def priority(self) -> int | None:
        """``:N`` or nothing."""
        if not self.accept(":"):
            return None
        literal = self.literal()
        if not isinstance(literal.value, int):
            raise self.error("expected number", literal.tok)
        if literal.value <= 0:
            raise self.error("specified priority must be > 0", literal.tok)
        return literal.value


_ITEMS: Final[dict[str, Callable[[Any], ast.TopLevel]]] = {
    "probe": _Parser.probe,
    "global": _Parser.global_declaration,
    "private": _Parser.private_item,
    "function": _Parser.function,
}
