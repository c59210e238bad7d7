"""A fast scan of a tapset file for the names it defines, without parsing it.

Both branches of preprocessor conditionals count, so the scan may name more than a parse would
find; whoever follows it must look again after parsing.
"""

from __future__ import annotations

import re

from pystap.lang import ast
from pystap.typing import NamedTuple

# Name components of an alias with their literal arguments.
AliasName = tuple[tuple[str, int | str | None], ...]


class Definitions(NamedTuple):
    """What one file defines for others.

    ``opaque`` tells that a macro stands where definitions do, so only a parse can know.
    """

    functions: list[str]
    globals: list[str]
    aliases: list[AliasName]
    macros: list[str]
    opaque: bool


_GAP = r"(?:\s|#[^\n]*+|//[^\n]*+|/\*[^*]*\*+(?:[^/*][^*]*\*+)*/)*"
_STRING = r'"(?:[^"\\\n]|\\.)*"'

# One alternative for each thing worth a look; everything else is stepped over.
_TOKEN = re.compile(
    "|".join(
        (
            rf"(?P<skip>(?<![$@])#[^\n]*|//[^\n]*|/\*.*?\*/|{_STRING}|%\{{.*?%\}})",
            r"(?P<open>\{|%\()",
            r"(?P<close>\}|%\))",
            rf"@define\b{_GAP}(?P<macro>\w+)",
            r"(?P<word>[@\w$]\w*)",
        )
    ),
    re.DOTALL,
)
_SPACE = re.compile(_GAP, re.DOTALL)
_NAME = re.compile(r"[A-Za-z_]\w*")
_GLOBAL = re.compile(
    rf"(?P<name>[A-Za-z_]\w*){_GAP}%?{_GAP}(?:\[[^\]]*\]{_GAP})?"
    rf"(?:={_GAP}(?:-?{_GAP}\w+|(?:{_STRING}{_GAP})+){_GAP})?(?P<more>,)?",
    re.DOTALL,
)
_COMPONENT = re.compile(
    rf"(?P<name>[A-Za-z_]\w*)(?:\({_GAP}(?:(?P<number>-?\w+)|(?P<string>{_STRING})){_GAP}\))?",
    re.DOTALL,
)
_ASSIGN = re.compile(r"\+?=(?!=)")


def scan_definitions(text: str) -> Definitions:
    """The public names ``text`` defines at its top level, in order, without repetition."""
    functions: dict[str, None] = {}
    variables: dict[str, None] = {}
    aliases: dict[AliasName, None] = {}
    macros: dict[str, None] = {}
    opaque = False
    depth = at = 0
    private = False
    while (token := _TOKEN.search(text, at)) is not None:
        at = token.end()
        kind = token.lastgroup
        if kind == "open":
            # The branches of a conditional are top level too.
            depth += token[0] == "{"
        elif kind == "close":
            depth -= token[0] == "}"
        elif kind == "macro":
            macros[token["macro"]] = None
            at = _skip_macro(text, at)
        elif kind == "word" and depth == 0:
            word = token[0]
            if word == "private":
                private = True
                continue
            if word == "function":
                if not private and (name := _NAME.match(text, _skip_gap(text, at))) is not None:
                    functions[name[0]] = None
            elif word == "global":
                at = _scan_globals(text, at, {} if private else variables)
            elif word == "probe":
                at = _scan_alias_names(text, at, aliases)
            elif word[0] == "@":
                opaque = True
            private = False
    return Definitions(list(functions), list(variables), list(aliases), list(macros), opaque)


def _skip_gap(text: str, at: int) -> int:
    """Past white space and comments."""
    match = _SPACE.match(text, at)
    return at if match is None else match.end()


def _skip_macro(text: str, at: int) -> int:
    """Past the body of a macro definition that starts at its parameters or ``%(``."""
    depth = 0
    while (token := _TOKEN.search(text, at)) is not None:
        at = token.end()
        depth += (token[0] == "%(") - (token[0] == "%)")
        if depth == 0 and token[0] == "%)":
            return at
    return len(text)


def _scan_globals(text: str, at: int, into: dict[str, None]) -> int:
    """Collect the names of a ``global`` list; the position after it."""
    while (match := _GLOBAL.match(text, _skip_gap(text, at))) is not None:
        into[match["name"]] = None
        at = match.end()
        if match["more"] is None:
            break
    return at


def _scan_alias_names(text: str, at: int, into: dict[AliasName, None]) -> int:
    """Collect the names before ``=`` or ``+=`` of a probe definition; the position after them."""
    while True:
        components: list[tuple[str, int | str | None]] = []
        here = _skip_gap(text, at)
        while (match := _COMPONENT.match(text, here)) is not None:
            components.append((match["name"], _literal(match)))
            here = _skip_gap(text, match.end())
            if not text.startswith(".", here):
                break
            here = _skip_gap(text, here + 1)
        assign = _ASSIGN.match(text, here)
        if not components or assign is None:
            return at
        into[tuple(components)] = None
        at = assign.end()


def _literal(match: re.Match[str]) -> int | str | None:
    if match["string"] is not None:
        return match["string"][1:-1]
    if match["number"] is None:
        return None
    try:
        return int(match["number"], 0)
    except ValueError:
        return match["number"]


def tree_definitions(tree: ast.File) -> Definitions:
    """The same for a parsed file."""
    functions: dict[str, None] = {}
    variables: dict[str, None] = {}
    aliases: dict[AliasName, None] = {}
    for item in tree.items:
        if isinstance(item, ast.FunctionDef) and not item.private:
            functions[item.name] = None
        elif isinstance(item, ast.GlobalDecl):
            variables |= {v.name: None for v in item.variables if not v.private}
        elif isinstance(item, ast.AliasDef):
            for name in item.names:
                aliases[tuple((c.name, c.arg) for c in name.components)] = None
    return Definitions(list(functions), list(variables), list(aliases), [], False)
