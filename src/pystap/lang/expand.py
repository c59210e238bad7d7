"""Pass 1, second step: macros.

Tokens are pulled one at a time because the conditionals behind decide whether a ``@define`` they
contain counts.  A macro body is scanned in a frame of its own; so is an argument, in the scope it
was written in (a closure), which makes parameters hygienic.
"""

from __future__ import annotations

from itertools import pairwise

from pystap.diag.diagnostic import Diagnostic, DiagnosticError, Diagnostics
from pystap.lang.errors import parse_error
from pystap.lang.limits import MAX_DEPTH
from pystap.lang.macros import Macro, MacroLibrary, redefinition
from pystap.lang.tokens import JunkToken, Token
from pystap.typing import Final

# Macros can double their text at each level; no honest script comes near this.
MAX_EXPANDED_TOKENS: Final = 500_000

_RESUME: Final = frozenset(("probe", "global", "private", "function"))
_NO_NAMES: Final[frozenset[str]] = frozenset()


class _Argument:
    """The tokens of one macro argument and the frame they were written in."""

    __slots__ = ("frame", "tokens")

    def __init__(self, tokens: list[Token], frame: _Frame) -> None:
        self.tokens = tokens
        self.frame = frame


class _Frame:
    """Tokens being scanned: the file, a macro body, or an argument.

    ``arguments`` are the parameters in scope, ``active`` the macros this text is part of,
    ``library`` tells that only library macros are visible.
    """

    __slots__ = ("active", "arguments", "at", "invocation", "library", "parent", "tokens")

    def __init__(
        self,
        tokens: list[Token],
        parent: _Frame | None = None,
        invocation: Token | None = None,
        arguments: dict[str, _Argument] | None = None,
        active: frozenset[str] = _NO_NAMES,
        library: bool = False,
    ) -> None:
        self.tokens = tokens
        self.at = 0
        self.parent = parent
        self.invocation = invocation
        self.arguments = arguments or {}
        self.active = active
        self.library = library


class Expander:
    """Yields the tokens of one file with macros replaced.

    ``macros`` are the ones the file defined so far.  While ``skipping`` is true, definitions
    are not recorded and misuse is not reported: the text is not part of the script.
    ``exhausted`` is set when macros grew beyond all measure; the tokens end there.
    """

    def __init__(
        self,
        tokens: list[Token],
        end: Token,
        builtins: frozenset[str],
        diags: Diagnostics,
        library: MacroLibrary | None,
        in_library: bool = False,
    ) -> None:
        self.macros: dict[str, Macro] = {}
        self.skipping = False
        self.exhausted = False
        self._frame = _Frame(tokens)
        self._end = end
        self._builtins = builtins
        self._diags = diags
        self._library = library
        self._in_library = in_library
        self._count = 0
        self._unread: Token | None = None

    def next(self) -> Token | None:
        """The next token, None at the end."""
        while True:
            if self._unread is not None:
                token, self._unread = self._unread, None
                return token
            frame = self._frame
            if frame.at == len(frame.tokens):
                if frame.parent is None:
                    return None
                self._frame = frame.parent
                continue
            token = frame.tokens[frame.at]
            frame.at += 1
            invocation = frame.invocation
            if invocation is not None:
                token = token.expanded(invocation)
                self._spend(1, token)
            if self.exhausted:
                self._frame = _Frame([])
                return JunkToken("", token.source, token.offset, token.expansion)
            if token.kind != "operator" or token.text[0] != "@" or not self._expand(token, frame):
                return token

    def unread(self, token: Token) -> None:
        """Make ``token`` the next one again."""
        self._unread = token

    def _expand(self, token: Token, frame: _Frame) -> bool:
        """Act on an @-word; False when it is no business of the preprocessor."""
        name = token.text[1:]
        argument = frame.arguments.get(name)
        if argument is not None:
            origin = argument.frame
            self._frame = _Frame(
                argument.tokens, frame, token, origin.arguments, origin.active, origin.library
            )
            return True
        if name == "define":
            self._define(token, frame)
            return True
        macro = None if frame.library else self.macros.get(name)
        if macro is None:
            macro = self._library.get(name) if self._library is not None else None
            if macro is None:
                return False
        self._invoke(macro, token, frame)
        return True

    def _invoke(self, macro: Macro, token: Token, frame: _Frame) -> None:
        self._spend(1, token)
        try:
            arguments = self._arguments(macro, token, frame) if macro.params else []
            if len(frame.active) >= MAX_DEPTH:
                raise parse_error("macros too deeply nested", token, saw=False)
            if macro.name in frame.active:
                raise parse_error(f"macro '@{macro.name}' invokes itself", token, saw=False)
        except DiagnosticError as error:
            self._give_up(error, token)
            return
        scope = dict(zip(macro.params, arguments))
        active = frame.active | {macro.name}
        self._frame = _Frame(macro.body, frame, token, scope, active, macro.library)

    def _arguments(self, macro: Macro, token: Token, frame: _Frame) -> list[_Argument]:
        """Collect the arguments of an invocation; they may not reach out of its frame."""
        wanted = len(macro.params)
        tokens, begin = frame.tokens, frame.at
        if begin == len(tokens) or not _is_operator(tokens[begin], "("):
            plural = "" if wanted == 1 else "s"
            message = (
                f"expected '(' in invocation of macro '{token.text}'"
                f" taking {wanted} parameter{plural}"
            )
            raise parse_error(message, self._peek(frame, token), saw=False)
        commas, close = _argument_marks(tokens, begin + 1)
        self._spend(close - begin, token)
        frame.at = close + 1
        if close == len(tokens):
            frame.at = close
            raise parse_error("could not find end of macro invocation", token, saw=False)
        problem = "many" if len(commas) >= wanted else "few"
        if len(commas) != wanted - 1:
            place = tokens[commas[wanted - 1] if problem == "many" else close]
            if frame.invocation is not None:
                place = place.expanded(frame.invocation)
            message = f"too {problem} parameters for macro '{token.text}' (expected {wanted})"
            raise parse_error(message, place, saw=False)
        edges = [begin, *commas, close]
        return [_Argument(tokens[a + 1 : b], frame) for a, b in pairwise(edges)]

    def _peek(self, frame: _Frame, fallback: Token) -> Token:
        """What stands next in a frame, for a message."""
        if frame.at < len(frame.tokens):
            token = frame.tokens[frame.at]
            return token if frame.invocation is None else token.expanded(frame.invocation)
        return self._end if frame.parent is None else fallback

    def _spend(self, count: int, token: Token) -> None:
        """Count work done; the file ends when macros blow up."""
        self._count += count
        if self._count > MAX_EXPANDED_TOKENS and not self.exhausted:
            self.exhausted = True
            message = f"macros expand to more than {MAX_EXPANDED_TOKENS} tokens"
            self._diags.add(parse_error(message, token, saw=False).diagnostic)

    def _report(self, diagnostic: Diagnostic) -> None:
        if not self.skipping:
            self._diags.add(diagnostic)

    def _give_up(self, error: DiagnosticError, token: Token) -> None:
        """Report a failed invocation; a token no parser accepts takes its place."""
        self._report(error.diagnostic)
        self._unread = JunkToken("", token.source, token.offset, token.expansion)

    # --- definitions ---

    def _define(self, token: Token, frame: _Frame) -> None:
        """Take in ``@define NAME[(PARAMS)] %( BODY %)``."""
        if frame.parent is not None:
            message = "'@define' forbidden inside macro body"
            self._report(parse_error(message, token, saw=False).diagnostic)
        begin = frame.at
        try:
            macro = self._definition(frame)
        except DiagnosticError as error:
            self._report(error.diagnostic)
            _skip_definition(frame, begin)
            return
        if self.skipping or frame.parent is not None:
            return
        first = self.macros.get(macro.name)
        if first is not None:
            message = f"attempt to redefine macro '@{macro.name}' in the same file"
            self._diags.add(redefinition(message, macro.token, first.token))
            return
        if macro.name in self._builtins:
            self._diags.warn(f"macro redefines built-in operator '@{macro.name}'", macro.token)
        self.macros[macro.name] = macro

    def _definition(self, frame: _Frame) -> Macro:
        name = self._take(frame)
        if name.kind != "identifier":
            raise parse_error("expected identifier", name, saw=name.kind == "eof")
        token = self._take(frame)
        params: list[str] = []
        if _is_operator(token, "("):
            params = self._parameters(frame)
            token = self._take(frame)
            if not _is_operator(token, "%("):
                raise parse_error("expected '%('", token, saw=token.kind == "eof")
        elif not _is_operator(token, "%("):
            raise parse_error("expected '%(' or '('", token, saw=token.kind == "eof")
        begin = frame.at
        end = _closing_mark(frame.tokens, begin)
        frame.at = min(end + 1, len(frame.tokens))
        if end == len(frame.tokens):
            raise parse_error("incomplete macro definition - missing '%)'", name, saw=False)
        return Macro(name, params, frame.tokens[begin:end], self._in_library)

    def _parameters(self, frame: _Frame) -> list[str]:
        params: list[str] = []
        while True:
            token = self._take(frame)
            if token.kind != "identifier":
                raise parse_error("expected identifier", token, saw=token.kind == "eof")
            if token.text in params:
                raise parse_error("duplicate parameter names", token, saw=False)
            params.append(token.text)
            token = self._take(frame)
            if _is_operator(token, ")"):
                return params
            if not _is_operator(token, ","):
                raise parse_error("expected ',' or ')'", token, saw=token.kind == "eof")

    def _take(self, frame: _Frame) -> Token:
        """The next raw token of a frame; the end mark when there is none."""
        if frame.at == len(frame.tokens):
            return self._end
        frame.at += 1
        return frame.tokens[frame.at - 1]


def _is_operator(token: Token, text: str) -> bool:
    return token.text == text and token.kind == "operator"


def _argument_marks(tokens: list[Token], begin: int) -> tuple[list[int], int]:
    """Positions of the separating commas and of the closing parenthesis (or the end)."""
    commas: list[int] = []
    depth = 0
    for at in range(begin, len(tokens)):
        token = tokens[at]
        if token.kind != "operator":
            continue
        text = token.text
        if text in ("(", "["):
            depth += 1
        elif text in (")", "]"):
            if depth == 0 and text == ")":
                return commas, at
            depth -= 1 if depth else 0
        elif text == "," and depth == 0:
            commas.append(at)
    return commas, len(tokens)


def _closing_mark(tokens: list[Token], begin: int) -> int:
    """Position of the ``%)`` that closes what opened before ``begin``, or the end."""
    depth = 1
    for at in range(begin, len(tokens)):
        token = tokens[at]
        if token.kind == "operator" and token.text in ("%(", "%)"):
            depth += 1 if token.text == "%(" else -1
            if depth == 0:
                return at
    return len(tokens)


def _skip_definition(frame: _Frame, begin: int) -> None:
    """After a bad definition from ``begin``, go behind its body if one can be made out."""
    tokens = frame.tokens
    at = max(frame.at - 1, begin)
    while at < len(tokens):
        token = tokens[at]
        if _is_operator(token, "%("):
            frame.at = min(_closing_mark(tokens, at + 1) + 1, len(tokens))
            return
        if (token.kind == "keyword" and token.text in _RESUME) or _is_operator(token, "@define"):
            frame.at = at
            return
        at += 1
    if begin < frame.at and _is_operator(tokens[frame.at - 1], "}"):
        frame.at -= 1  # more likely the end of what is around
