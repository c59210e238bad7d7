"""Pass 1, first step: characters to tokens.

One regular expression recognises every token.  Command-line arguments are pasted here because
``$N`` is replaced by characters, not by tokens: ``$1x`` with argument ``f`` is the name ``fx``.
"""

from __future__ import annotations

import re

from pystap.diag.diagnostic import Diagnostics
from pystap.lang.environment import Environment
from pystap.lang.source import PastedSource, Source
from pystap.lang.tokens import JunkToken, Token, TokenKind
from pystap.typing import Final

KEYWORDS: Final = frozenset(
    [
        "probe",
        "global",
        "private",
        "function",
        "if",
        "else",
        "for",
        "foreach",
        "in",
        "limit",
        "return",
        "delete",
        "while",
        "break",
        "continue",
        "next",
        "string",
        "long",
        "try",
        "catch",
    ]
)

# Alternatives in order of frequency, white space and comments without a group.  Each repeat
# can go on in one way only, which keeps every match linear in its length.  Possessive repeats
# are of single characters alone: early releases of Python 3.11 match those of groups wrongly.
_TOKEN: Final = re.compile(
    r"""[ \t\n\v\f\r]*+(?:
        ((?:[A-Za-z_]|\$(?![0-9\#]))[A-Za-z0-9_$]*+)            # 1 name
      | ([(){},;\[\]])                                          # 2 operator
      | //[^\n]*+ | \#[^\n]*+ | /\*[^*]*\*+(?:[^/*][^*]*\*+)*/
      | ([0-9][0-9A-Za-z]*+)                                    # 3 number
      | "([^"\\\n]*(?:\\(?s:.)[^"\\\n]*)*)("?)                  # 4 string, 5 closing quote
      | ([$@](?:[0-9]++|\#))                                    # 6 command-line argument
      | %\{([^%]*(?:%(?!\})[^%]*)*)%\}                          # 7 embedded code
      | (%\{|/\*)                                               # 8 what is never closed
      | (<<< | >>> | <<= | >>= | && | \|\| | \+\+ | -- | -> | << | >> | =~ | !~ | %[(?:)]
          | [-+*/%&^|.=!<>]= | @[A-Za-z_$][A-Za-z0-9_$]*+ | (?s:.))   # 9 operator
      | \Z)""",
    re.VERBOSE,
)
_NAME, _PUNCTUATION, _NUMBER, _QUOTE, _ARGUMENT, _CODE, _UNCLOSED, _OPERATOR = (
    1,
    2,
    3,
    5,
    6,
    7,
    8,
    9,
)

_ESCAPE: Final = re.compile(r"\\(x[0-9A-Fa-f]{1,2}|[0-7]{1,3}|(?s:.))")
_SIMPLE_ESCAPES: Final = dict(zip("abtnvfr", "\a\b\t\n\v\f\r"))
# An argument that is one name or number and ends where it ends: what follows cannot join it.
_PLAIN_ARGUMENT: Final = re.compile(r"[A-Za-z0-9_]*")
_JOINING: Final = re.compile(r"[A-Za-z0-9_$]+")
_LONGEST_OPERATOR: Final = 3
_OPENING: Final = re.compile(r"[\"#]|//")


class TokenList(list[Token]):
    """The tokens of a file, without an end mark.

    ``pasted`` tells that a command-line argument was pasted among them.
    """

    pasted = False


def lex(source: Source, env: Environment, diags: Diagnostics) -> TokenList:
    """Split ``source`` into tokens.

    What is no token becomes a :class:`JunkToken`, reported when a parser meets it.  Warnings
    go to ``diags``; used script arguments are noted in ``env`` for user scripts.
    """
    return _Lexer(source, env, diags).run()


class _Lexer:
    def __init__(self, source: Source, env: Environment, diags: Diagnostics) -> None:
        self.source = source
        self.env = env
        self.diags = diags
        self.tokens = TokenList()
        self.keywords = KEYWORDS if env.version >= (3, 0) else KEYWORDS - {"private"}
        self.hex_escapes = env.version >= (2, 3)

    def run(self) -> TokenList:
        position = self.scan(self.source, 0)
        while position >= 0:
            position = self.scan(self.source, position)
        return self.tokens

    def scan(self, source: Source, start: int, stop: int = -1) -> int:
        """Append the tokens from ``start`` on; return where to go on, -1 at the end.

        ``stop``, when given, is the end of pasted text: the first token that starts there or
        behind is left alone.
        """
        tokens = self.tokens
        append = tokens.append
        keywords = self.keywords
        for match in _TOKEN.finditer(source.text, start):
            group = match.lastindex
            if group is None:
                if stop >= 0 and match.end() >= stop:
                    return match.end()
                continue
            begin = match.start(group)
            if stop >= 0 and (match.start(4) - 1 if group == _QUOTE else begin) >= stop:
                return match.start()
            text = match[group]
            if group == _NAME:
                kind: TokenKind = "keyword" if text in keywords else "identifier"
                append(Token(kind, text, source, begin))
            elif group in (_PUNCTUATION, _OPERATOR):
                append(Token("operator", text, source, begin))
            elif group == _NUMBER:
                append(Token("number", text, source, begin))
            elif group == _QUOTE:
                append(self.string(match, source))
            elif group == _ARGUMENT:
                after = self.argument(text, source, begin, match.end(), stop >= 0)
                if after != match.end():
                    return after
            elif group == _CODE:
                append(self.embedded(text, source, begin - 2))
            else:
                self.unclosed(text, source, begin)
                return -1
            if stop >= 0 and match.end() >= stop:
                return match.end()
        return -1

    def string(self, match: re.Match[str], source: Source) -> Token:
        begin = match.start(4) - 1
        if not match[_QUOTE]:
            return JunkToken("Could not find matching closing quote", source, begin)
        text = match[4]
        if "\\" in text:
            text = _ESCAPE.sub(self.unescape, text)
        return Token("string", text, source, begin)

    def unescape(self, match: re.Match[str]) -> str:
        """One escape as C reads it; a backslash before any other character just goes away."""
        text = match[1]
        if text[0] in "01234567":
            return chr(int(text, 8) & 0xFF)
        if text[0] == "x" and len(text) > 1:
            return chr(int(text[1:], 16)) if self.hex_escapes else text
        return _SIMPLE_ESCAPES.get(text, text)

    def embedded(self, text: str, source: Source, begin: int) -> Token:
        token = Token("embedded-code", text, source, begin)
        if "}%" in text:
            self.diags.warn("possible erroneous closing '}%', use '%}'?", token)
        return token

    def unclosed(self, text: str, source: Source, begin: int) -> None:
        if text == "%{":
            message = "Could not find matching '%}' to close embedded function block"
            self.tokens.append(JunkToken(message, source, begin))
        else:
            # The rest of the file is the comment, as it has always been; surely a slip.
            token = Token("operator", text, source, begin)
            self.diags.warn("comment is never closed", token)

    # --- command-line arguments ---

    def argument(self, text: str, source: Source, begin: int, end: int, nested: bool) -> int:
        """Replace ``$N @N $# @#``; return where the text after it goes on."""
        self.tokens.pasted = True
        if nested:
            message = "invalid nested substitution of command line arguments"
            self.tokens.append(JunkToken(message, source, begin))
            return end
        args = self.env.args
        if text[1] == "#":
            value = str(len(args))
            self.tokens.append(
                Token("number" if text[0] == "$" else "string", value, source, begin)
            )
            return end
        number = int(text[1:]) if len(text) < 10 else 0
        if not 1 <= number <= len(args):
            message = f"command line argument out of range [1-{len(args)}]"
            self.tokens.append(JunkToken(message, source, begin))
            return end
        if source.kind == "user":
            self.env.used_args.add(number)
        value = args[number - 1]
        if text[0] == "@":
            self.tokens.append(Token("string", value, source, begin))
            return end
        return self.paste(value, begin, end)

    def reach(self, value: str, text: str, end: int) -> int:
        """How far behind ``$N`` the last token of its argument can possibly go."""
        if "/*" in value or "%{" in value or value.endswith(("/", "%")):
            return len(text)
        if _OPENING.search(value):
            stop = text.find("\n", end)
            return stop if stop >= 0 else len(text)
        word = _JOINING.match(text, end)
        return word.end() if word else end + _LONGEST_OPERATOR

    def paste(self, value: str, begin: int, end: int) -> int:
        """Lex an argument in place of ``$N``, and as much after it as its last token takes."""
        source = self.source
        text = source.text
        rest = ""
        if not _PLAIN_ARGUMENT.fullmatch(value) or _JOINING.match(text, end):
            rest = text[end : self.reach(value, text, end)]
        pasted = PastedSource(source, begin, end, value, rest)
        after = self.scan(pasted, 0, len(value))
        if after < 0:
            after = len(pasted.text)
        return max(pasted.root_offset(max(after, len(value)))[1], end)
