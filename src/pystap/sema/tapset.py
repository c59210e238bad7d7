"""The tapset library: finds the file that defines a name and parses it when it is needed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from pystap.lang import ast
from pystap.lang.source import Source
from pystap.sema.tapset_index import Index, load_index, tapset_files

if TYPE_CHECKING:
    from pystap.sema.definitions import AliasName, Definitions

OWN_DIRECTORY = os.path.join(os.path.dirname(os.path.dirname(__file__)), "tapset")


class Tapset:
    """The files of the library and what is known of them.

    ``parse`` turns a source into a tree (it reports errors itself and returns what it could make
    of the rest).  ``extra`` are the ``-I`` directories.  ``arch`` is the kernel's name for the
    architecture.
    """

    def __init__(
        self,
        parse: Callable[[Source], ast.File],
        extra: Sequence[str] = (),
        *,
        own: str = OWN_DIRECTORY,
        cache_dir: str | None = None,
        release: str = "",
        arch: str = "x86_64",
    ) -> None:
        self._parse = parse
        self._loaded: dict[int, ast.File] = {}
        files = tapset_files(own, extra, release or os.uname().release, arch)
        self.index: Index = load_index(files, cache_dir, self._collect)

    @property
    def used_files(self) -> list[str]:
        """Paths of the files parsed so far."""
        return [self.index.files[number][0] for number in self._loaded]

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
        """The tree of a file, parsed at first use."""
        tree = self._loaded.get(number)
        if tree is None:
            tree = self._parse(self._source(self.index.files[number][0]))
            self._loaded[number] = tree
        return tree

    def path(self, number: int) -> str:
        """Path of a file."""
        return self.index.files[number][0]

    def macro_sources(self) -> list[Source]:
        """All macro library files (``.stpm``)."""
        return [
            self._source(path, "macro-library")
            for path, _, _ in self.index.files
            if path.endswith(".stpm")
        ]

    def macro_source(self, name: str) -> Source | None:
        """The macro library file that defines ``@name``."""
        files = self.index.macros.get(name)
        return None if not files else self._source(self.path(files[0]), "macro-library")

    def _source(self, path: str, kind: str = "tapset") -> Source:
        with open(path, "rb") as file:
            text = file.read().decode("latin-1")
        return Source(path, text, "macro-library" if kind == "macro-library" else "tapset")

    def _collect(self, path: str) -> Definitions:
        """What a file defines; found by parsing only when macros hide it."""
        from pystap.sema.definitions import scan_definitions

        source = self._source(path)
        defined = scan_definitions(source.text)
        if defined.opaque and path.endswith(".stp"):
            from pystap.sema.definitions import tree_definitions

            return tree_definitions(self._parse(source))
        return defined
