"""Pass 1, second step: ``@define`` macros and ``%( %? %: %)`` conditionals."""

from __future__ import annotations

from pystap.diag.diagnostic import DiagnosticError, Diagnostics
from pystap.lang.conditions import evaluate
from pystap.lang.environment import Environment
from pystap.lang.errors import parse_error
from pystap.lang.expand import Expander
from pystap.lang.lexer import TokenList, lex
from pystap.lang.macros import Macro, MacroLibrary
from pystap.lang.operators import builtin_operators
from pystap.lang.source import Source
from pystap.lang.tokens import JunkToken, Token
from pystap.typing import Final

_MARKS: Final = frozenset(("%(", "%?", "%:", "%)"))


def preprocess(
    tokens: TokenList,
    source: Source,
    env: Environment,
    diags: Diagnostics,
    library: MacroLibrary | None = None,
) -> list[Token]:
    """The tokens of ``source`` with macros replaced and conditions decided.

    Errors go to ``diags``; what could not be understood is left out of the result.
    """
    builtins = builtin_operators(env)
    if not _needed(tokens, source, builtins, library):
        return tokens
    end = end_token(source)
    return _Conditionals(Expander(tokens, end, builtins, diags, library), env, diags).run()


def library_macros(source: Source, env: Environment, diags: Diagnostics) -> dict[str, Macro]:
    """The macros a macro library file defines; anything else in it is an error."""
    tokens = lex(source, env, diags)
    end = end_token(source)
    expander = Expander(tokens, end, builtin_operators(env), diags, None, in_library=True)
    rest = _Conditionals(expander, env, diags).run()
    rest = [t for t in rest if not (isinstance(t, JunkToken) and not t.message)]
    if rest:
        message = f"unexpected token in library macro file '{source.name}'"
        diags.add(parse_error(message, rest[0], saw=False).diagnostic)
    return expander.macros


def end_token(source: Source) -> Token:
    """The mark that stands for the end of ``source``."""
    return Token("eof", "", source, len(source.text))


def _needed(
    tokens: TokenList, source: Source, builtins: frozenset[str], library: MacroLibrary | None
) -> bool:
    """Whether there is anything to do, told as cheaply as possible."""
    if tokens.pasted or (library is not None and library.shadows_builtin):
        return True
    text = source.text
    if "%(" in text or "%?" in text or "%:" in text or "%)" in text:
        return True
    if "@" not in text:
        return False
    return any(
        token.kind == "operator" and token.text[0] == "@" and token.text[1:] not in builtins
        for token in tokens
    )


class _Open:
    """A conditional that was opened: its ``%(``, and what is live outside and in each branch."""

    __slots__ = ("after_else", "holds", "outer", "token")

    def __init__(self, token: Token, outer: bool, holds: bool | None) -> None:
        self.token = token
        self.outer = outer
        self.holds = holds  # None: the condition is an error, neither branch counts
        self.after_else = False


class _Conditionals:
    def __init__(self, expander: Expander, env: Environment, diags: Diagnostics) -> None:
        self.expander = expander
        self.env = env
        self.diags = diags
        self.open: list[_Open] = []
        self.gap: JunkToken | None = None  # for a conditional left out because of an error

    def run(self) -> list[Token]:
        expander = self.expander
        result: list[Token] = []
        while (token := expander.next()) is not None:
            if token.kind == "operator" and token.text in _MARKS:
                self.mark(token)
                if self.gap is not None and not self.open:
                    result.append(self.gap)
                    self.gap = None
            elif not expander.skipping:
                result.append(token)
        if self.gap is not None:
            result.append(self.gap)
        unclosed = [c for c in self.open if c.holds is not None]
        if unclosed and not expander.exhausted:
            message = "incomplete conditional at end of file"
            self.report(parse_error(message, unclosed[-1].token, saw=False))
        return result

    def mark(self, token: Token) -> None:
        """Act on ``%(``, ``%?``, ``%:`` or ``%)``."""
        expander = self.expander
        if token.text == "%(":
            holds = None if expander.skipping else self.condition(token)
            self.open.append(_Open(token, expander.skipping, holds))
            expander.skipping = not holds
            return
        current = self.open[-1] if self.open else None
        broken = current is not None and current.holds is None
        if broken and token.text != "%)":
            return
        if current is None or token.text == "%?" or (token.text == "%:" and current.after_else):
            self.report(parse_error("incomplete conditional - missing '%('", token, saw=False))
        elif token.text == "%:":
            current.after_else = True
            expander.skipping = current.outer or current.holds is not False
        else:
            self.open.pop()
            expander.skipping = current.outer

    def condition(self, start: Token) -> bool | None:
        """Read and decide up to ``%?``; None after an error."""
        try:
            return self.disjunction(start)
        except DiagnosticError as error:
            self.report(error)
            self.gap = JunkToken("", start.source, start.offset, start.expansion)
            return None

    def disjunction(self, start: Token) -> bool:
        result = False
        conjunction = True
        while True:
            left, op, right = self.operand(start), self.operand(start), self.operand(start)
            conjunction = evaluate(left, op, right, self.env) and conjunction
            token = self.expander.next()
            text = token.text if token is not None and token.kind == "operator" else ""
            if text == "&&":
                continue
            result = result or conjunction
            conjunction = True
            if text == "%?":
                return result
            if text != "||":
                self.give_back(token)
                message = "expected '%?' marker for conditional"
                raise parse_error(message, start, saw=False)

    def operand(self, start: Token) -> Token:
        token = self.expander.next()
        text = token.text if token is not None and token.kind == "operator" else ""
        if token is None or text in ("%(", "%)"):
            self.give_back(token)
            raise parse_error("incomplete condition after '%('", start, saw=False)
        return token

    def give_back(self, token: Token | None) -> None:
        """Keep ``%(`` and ``%)`` balanced when a bad condition runs into one."""
        if token is not None and token.kind == "operator" and token.text in ("%(", "%)"):
            self.expander.unread(token)

    def report(self, error: DiagnosticError) -> None:
        if not self.expander.exhausted:
            self.diags.add(error.diagnostic)
