"""The tapset library: finds the file that defines a name and parses it when it is needed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from pystap.diag.diagnostic import Diagnostic, Diagnostics
from pystap.lang import ast
from pystap.lang.macros import MacroLibrary, load_macro_library
from pystap.lang.source import Source
from pystap.sema.tapset_index import load_index, tapset_files
from pystap.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pystap.lang.environment import Environment
    from pystap.sema.definitions import AliasName, Definitions

OWN_DIRECTORY = os.path.join(os.path.dirname(os.path.dirname(__file__)), "tapset")


class Tapset:
    """The files of the library and what is known of them.

    ``extra`` are the ``-I`` directories, ``own`` is our own one.  ``macros`` is the macro library
    that scripts are to be parsed with.  The index is kept in ``cache_dir`` if given.
    """

    def __init__(
        self,
        env: Environment,
        diags: Diagnostics,
        extra: Sequence[str] = (),
        *,
        own: str = OWN_DIRECTORY,
        cache_dir: str | None = None,
    ) -> None:
        self._env = env
        self._own = own
        self._diags = diags
        self._loaded: dict[int, ast.File] = {}
        self._early_macros: MacroLibrary | None = None
        self._files = tapset_files(own, extra, env.kernel_release, env.arch)
        self.index = load_index(self._files, cache_dir, self._collect)
        self.macros = MacroLibrary(
            {
                name: [self._files[number][0] for number in numbers]
                for name, numbers in self.index.macros.items()
            },
            env,
            diags,
        )

    @property
    def used_files(self) -> list[str]:
        """Paths of the files parsed so far, macro files included."""
        loaded = [self._files[number][0] for number in self._loaded]
        return loaded + self.macros.used_files

    @property
    def script_count(self) -> int:
        """How many library scripts there are to draw from."""
        return sum(is_script(path) for path, _, _ in self._files)

    def function_files(self, name: str) -> list[int]:
        """Files that may define function ``name``, in search order."""
        return self.index.functions.get(name, [])

    def global_files(self, name: str) -> list[int]:
        """Files that may define the public global ``name``."""
        return self.index.globals.get(name, [])

    def aliases(self, root: str) -> Iterable[tuple[AliasName, int]]:
        """Alias names whose first component is ``root`` (any, when it is empty), with files."""
        if root:
            return self.index.aliases.get(root, [])
        return [alias for group in self.index.aliases.values() for alias in group]

    def is_loaded(self, number: int) -> bool:
        """Whether a file was parsed before."""
        return number in self._loaded

    def load(self, number: int) -> ast.File:
        """The tree of a file, parsed at first use; empty, with a warning, when it has errors."""
        tree = self._loaded.get(number)
        if tree is None:
            tree = self._parse(read_source(self._files[number][0]), self.macros)
            self._loaded[number] = tree
        return tree

    def load_all(self) -> list[ast.File]:
        """The trees of all files, for listings."""
        return [self.load(n) for n, (path, _, _) in enumerate(self._files) if is_script(path)]

    def _parse(self, source: Source, macros: MacroLibrary) -> ast.File:
        from pystap.lang.parser import parse

        problems = Diagnostics()
        # Our own files speak the language of today, however old the script's is.
        ours = source.name.startswith(os.path.join(self._own, ""))
        env = self._env.current() if ours else self._env
        tree = parse(source, env, problems, macros)
        faults = [d for d in problems.errors if d.severity == "parse error"]
        if not faults:  # being empty, after preprocessing at least, is none
            for warning in problems.warnings:
                self._diags.add(warning)
            return tree
        warning = Diagnostic("warning", f'tapset "{source.name}" has errors, and will be skipped')
        warning.causes = faults
        self._diags.add(warning)
        return ast.File(name=source.name, items=[])

    def _collect(self, path: str) -> Definitions:
        """What a file defines; found by parsing only when macros hide it."""
        from pystap.sema.definitions import scan_definitions, tree_definitions

        source = read_source(path)
        defined = scan_definitions(source.text)
        if defined.opaque and is_script(path):
            if self._early_macros is None:
                paths = [p for p, _, _ in self._files if not is_script(p)]
                self._early_macros = load_macro_library(paths, self._env, self._diags)
            return tree_definitions(self._parse(source, self._early_macros))
        return defined


def read_source(path: str) -> Source:
    """A tapset file."""
    with open(path, "rb") as file:
        return Source(path, file.read().decode("latin-1"), "tapset")


def is_script(path: str) -> bool:
    """Whether a tapset file holds definitions rather than macros."""
    return path.endswith(".stp")
