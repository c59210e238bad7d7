"""Macros: what ``@define`` makes, and the library of macro files (``.stpm``)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence

from pystap.diag.diagnostic import Diagnostic, Diagnostics
from pystap.lang.environment import Environment
from pystap.lang.operators import builtin_operators
from pystap.lang.source import Source
from pystap.lang.tokens import Token
from pystap.typing import Final

_DEFINITION: Final = re.compile(r"@define\s+([A-Za-z_][A-Za-z0-9_$]*)")


class Macro:
    """One macro: its name token, parameter names and unexpanded body."""

    __slots__ = ("body", "library", "params", "token")

    def __init__(self, token: Token, params: list[str], body: list[Token], library: bool) -> None:
        self.token = token
        self.params = params
        self.body = body
        self.library = library

    @property
    def name(self) -> str:
        """The name without ``@``."""
        return self.token.text


class MacroLibrary:
    """The library macros; a file is read when a macro it may define is first wanted.

    ``index`` gives for each macro name the files that may define it, in search order (a
    definition in a conditional branch may turn out not to be in force).
    """

    def __init__(
        self, index: Mapping[str, Sequence[str]], env: Environment, diags: Diagnostics
    ) -> None:
        self._index = index
        self._env = env
        self._diags = diags
        self._files: dict[str, dict[str, Macro] | None] = {}  # None: has errors
        self._known: dict[str, Macro | None] = {}
        self.shadows_builtin = any(name in index for name in builtin_operators(env))

    def names(self) -> Iterable[str]:
        """Names of all macros the library may define."""
        return self._index.keys()

    @property
    def used_files(self) -> list[str]:
        """Paths of the files read so far."""
        return list(self._files)

    def get(self, name: str) -> Macro | None:
        """The macro ``@name``, None when there is none."""
        if name in self._known:
            return self._known[name]
        found: Macro | None = None
        for path in self._index.get(name, ()):
            macros = self._load(path)
            macro = macros.get(name) if macros is not None else None
            if macro is None:
                continue
            if found is None:
                found = macro
            else:
                self._duplicate(macro, found, path)
        self._known[name] = found
        return found

    def load_all(self) -> None:
        """Read every file, to report what is wrong with any."""
        for name in self._index:
            self.get(name)

    def _load(self, path: str) -> dict[str, Macro] | None:
        """The macros of one file; None when it has errors."""
        if path not in self._files:
            from pystap.lang.preprocess import library_macros

            problems = Diagnostics()
            try:
                macros = library_macros(read_source(path), self._env, problems)
            except OSError as error:
                self._files[path] = None
                self._diags.warn(f'macro tapset "{path}" cannot be read: {error.strerror}')
                return None
            if problems.errors:
                self._skip(path, problems.errors)
            else:
                self._files[path] = macros
                for warning in problems.warnings:
                    self._diags.add(warning)
        return self._files[path]

    def _skip(self, path: str, causes: list[Diagnostic]) -> None:
        self._files[path] = None
        message = f'macro tapset "{path}" has errors, and will be skipped.'
        self._diags.add(Diagnostic("warning", message, causes=causes))

    def _duplicate(self, macro: Macro, first: Macro, path: str) -> None:
        message = f"duplicate definition of library macro '@{macro.name}'"
        self._skip(path, [redefinition(message, macro.token, first.token)])


def load_macro_library(paths: Iterable[str], env: Environment, diags: Diagnostics) -> MacroLibrary:
    """A library of the ``.stpm`` files among ``paths`` and below the directories among them.

    The files are only searched for names here; they are parsed at first use.
    """
    index: dict[str, list[str]] = {}
    for path in _macro_files(paths):
        for name in dict.fromkeys(_DEFINITION.findall(read_source(path).text)):
            index.setdefault(name, []).append(path)
    return MacroLibrary(index, env, diags)


def read_source(path: str) -> Source:
    """A macro library file."""
    with open(path, "rb") as file:
        return Source(path, file.read().decode("latin-1"), "macro-library")


def redefinition(message: str, token: Token, first: Token) -> Diagnostic:
    """The error for a macro defined again, with the first place as its cause."""
    where = Diagnostic("parse error", f"macro '@{first.text}' first defined here", first)
    return Diagnostic("parse error", message, token, causes=[where])


def _macro_files(paths: Iterable[str]) -> Iterable[str]:
    for path in paths:
        if not os.path.isdir(path):
            yield path
            continue
        for directory, subdirectories, names in os.walk(path):
            subdirectories.sort()
            for name in sorted(names):
                if name.endswith(".stpm"):
                    yield os.path.join(directory, name)
