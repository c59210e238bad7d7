"""What the parts of a C translation share: names, sizes, and text that goes to file scope."""

from __future__ import annotations

from pystap.ir.bounds import Sizes
from pystap.ir.regex import TaggedDfa
from pystap.ir.types import Global, LocalVar, Ty
from pystap.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pystap.ir.module import Function, Module


class Unit:
    """One script on its way to C."""

    def __init__(self, module: Module, prefix: str = "stap_") -> None:
        """``prefix`` of all names at file scope."""
        self.module = module
        self.prefix = prefix
        self.sizes = Sizes(module)
        self.declarations: list[str] = []
        self.frames: list[str] = []  # structures of the variables of functions and handlers
        self.quick_conditions: set[int] = set()  # those that need no context
        self._functions = {id(f): index for index, f in enumerate(module.functions)}
        # of the kernel, whose addresses are wanted: names, and which one of several
        self.symbols: list[tuple[int | str, ...]] = []
        self._tables: set[str] = set()

    @property
    def text_size(self) -> int:
        """Bytes of the longest string with its NUL."""
        return self.module.limits.maxstringlen

    def size_of(self, var: LocalVar | Global) -> int:
        """Bytes of a string variable with its NUL."""
        return var.bound or self.text_size

    def global_name(self, var: Global) -> str:
        """The C name of a global."""
        return f"{self.prefix}g{var.index}_{identifier(var.name)}"

    def lock_name(self, var: Global) -> str:
        """The C name of a global's lock."""
        return f"&{self.prefix}locks[{var.index}]"

    def function_name(self, function: Function) -> str:
        """The C name of a function."""
        index = self._functions[id(function)]
        return f"{self.prefix}f{index}_{identifier(function.name)}"

    def key_size(self, var: Global, part: int) -> int:
        """Bytes of a string part of a key, filled up to whole words."""
        return ((var.key_bounds[part] or self.text_size) + 7) & ~7

    def is_tagged(self, regex: int) -> bool:
        """Whether the tables of a regular expression tell of its groups."""
        return isinstance(self.module.regexes[regex].dfa, TaggedDfa)

    def spec_name(self, var: Global) -> str:
        """The C name of what an aggregate keeps."""
        return f"{self.global_name(var)}_spec"

    def symbol(self, what: tuple[int | str, ...]) -> int:
        """The index of a symbol, told by its name and which one of several it is."""
        if what not in self.symbols:
            self.symbols.append(what)
        return self.symbols.index(what)

    def table(self, key: str, make: list[str]) -> None:
        """Lines for file scope, once for each key."""
        if key not in self._tables:
            self._tables.add(key)
            self.declarations += make


def identifier(name: str) -> str:
    """A name with other characters than C allows replaced."""
    return "".join(c if (c.isascii() and c.isalnum()) or c == "_" else "_" for c in name)


def parameter(var: LocalVar, index: int) -> str:
    """A parameter in the head of a C function."""
    return f"s64 a{index}" if var.ty is Ty.LONG else f"const char *a{index}"
