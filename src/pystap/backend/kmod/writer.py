"""C text of one function being written: lines, temporaries, and where control goes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pystap.backend.kmod.unit import identifier
from pystap.ir.types import LocalVar, Ty
from pystap.typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pystap.backend.kmod.unit import Unit

_SIMPLE = re.compile(r"[\w.>-]+|\(-\d+(ll)?\)")  # what stays as it is
_ESCAPES = {"\n": "\\n", "\t": "\\t", '"': '\\"', "\\": "\\\\"}


def quoted(text: str) -> str:
    """A C string literal; other bytes than printable ASCII as octal escapes."""
    out = []
    for char in text:
        plain = " " <= char <= "~" and char != "?"  # two of them may begin a trigraph
        out.append(_ESCAPES.get(char) or (char if plain else f"\\{ord(char):03o}"))
    return f'"{"".join(out)}"'


def number(value: int) -> str:
    """A C literal of a signed 64-bit number."""
    if value == -(1 << 63):
        return "S64_MIN"
    text = str(value) if -(1 << 31) <= value < 1 << 31 else f"{value}ll"
    return f"({text})" if value < 0 else text


class Place(NamedTuple):
    """Something control can leave: ``undo`` is run on the way out.

    ``kind`` is ``loop``, ``try``, ``lock``, ``loop_body`` for what only has an ``undo``.
    """

    kind: str
    undo: str = ""
    fault: str = ""  # label for faults
    break_to: str = ""
    continue_to: str = ""


class Writer:
    """The body of a C function.

    Variables of the script and strings in between are members of ``l``, a structure in the
    context's memory; ``members`` lists them.  Longs in between are C variables.
    """

    def __init__(self, unit: Unit, name: str) -> None:
        self.unit = unit
        self.name = name
        self.members: list[str] = []
        self.lines: list[str] = []
        self.places: list[Place] = []
        self.end_label = "out"
        self.is_function = False
        self.labels_used: set[str] = set()
        self._indent = 1
        self._temps = 0
        self._labels = 0
        self._strings: list[int] = []  # sizes of the string temporaries
        self._strings_used = 0
        self._strings_kept = 0  # of them by the expression around the statements
        self._names: dict[int, str] = {}

    # --- text ------------------------------------------------------------------------------------

    def line(self, text: str) -> None:
        """One line at the present depth."""
        self.lines.append("\t" * self._indent + text)

    @contextmanager
    def block(self, head: str, tail: str = "}") -> Iterator[None]:
        """``head {`` ... ``}``."""
        self.line(f"{head} {{" if head else "{")
        self._indent += 1
        yield
        self._indent -= 1
        self.line(tail)

    @contextmanager
    def rest(self) -> Iterator[None]:
        """What follows ``} else {``."""
        self._indent += 1
        yield
        self._indent -= 1
        self.line("}")

    def label(self, stem: str) -> str:
        """A new label."""
        self._labels += 1
        return f"{stem}_{self._labels}"

    def put_label(self, name: str) -> None:
        """Where a label stands; nothing when nobody goes there."""
        if name in self.labels_used:
            self.lines.append("\t" * max(self._indent - 1, 0) + f"{name}:;")

    def goto(self, name: str) -> str:
        """The statement that goes to a label."""
        self.labels_used.add(name)
        return f"goto {name};"

    # --- variables -------------------------------------------------------------------------------

    def declare(self, var: LocalVar, size: int, member: str = "") -> None:
        """A variable of the script, ``size`` bytes when a string; ``member`` names it in C."""
        name = member or f"{identifier(var.name)}_{var.index}"
        self._names[id(var)] = name
        self.members.append(f"s64 {name};" if var.ty is Ty.LONG else f"char {name}[{size}];")

    def variable(self, var: LocalVar) -> str:
        """How a variable is written."""
        return f"l->{self._names[id(var)]}"

    def _new_temp(self) -> str:
        self._temps += 1
        return f"t{self._temps - 1}"

    def temp(self, value: str, kind: str = "s64") -> str:
        """A C variable with a value."""
        name = self._new_temp()
        self.line(f"{kind} {name} = {value};")
        return name

    def empty_temp(self, kind: str = "s64") -> str:
        """A C variable to be set on several ways."""
        name = self._new_temp()
        self.line(f"{kind} {name};")
        return name

    def settle(self, mark: int, value: str) -> str:
        """``value`` as it was when the text ended at line ``mark``, of a number."""
        if len(self.lines) == mark or _SIMPLE.fullmatch(value):
            return value
        name = self._new_temp()
        self.lines.insert(mark, "\t" * self._indent + f"s64 {name} = {value};")
        return name

    def choose(self, cond: str, yes: Callable[[], str], no: Callable[[], str], kind: str) -> str:
        """A C variable that has one of two values."""
        chosen = self.empty_temp(kind)
        with self.block(f"if ({cond})", "} else {"):
            self.line(f"{chosen} = {yes()};")
        with self.rest():
            self.line(f"{chosen} = {no()};")
        return chosen

    def string(self, size: int) -> str:
        """Memory for a string in between, which lasts until the statement ends."""
        index = self._strings_used
        self._strings_used += 1
        if index == len(self._strings):
            self._strings.append(size)
        self._strings[index] = max(self._strings[index], size)
        return f"l->text{index}"

    def key(self, kind: str) -> str:
        """Memory for a key."""
        name = f"key{len(self.members)}"
        self.members.append(f"{kind} {name};")
        return f"l->{name}"

    def statement_ends(self) -> None:
        """Strings in between are free again."""
        self._strings_used = self._strings_kept

    @contextmanager
    def kept_strings(self) -> Iterator[None]:
        """Statements within an expression: what it holds so far stays."""
        outer, self._strings_kept = self._strings_kept, self._strings_used
        yield
        self.statement_ends()
        self._strings_kept = outer

    def all_members(self) -> list[str]:
        """Members of the structure of this function."""
        return self.members + [f"char text{i}[{n}];" for i, n in enumerate(self._strings)]

    # --- control ---------------------------------------------------------------------------------

    def check(self, condition: str = "c->ending") -> None:
        """Leave for whoever handles a fault if there is one."""
        self.line(f"if (unlikely({condition})) {self.goto(self.fault_label())}")

    def fault_label(self) -> str:
        """Where a fault goes to: the innermost place that looks at them."""
        for place in reversed(self.places):
            if place.fault:
                return place.fault
        return self.end_label

    def leave(self, kind: str) -> None:
        """``break`` or ``continue`` of the innermost loop."""
        for place in reversed(self.places):
            if place.break_to:
                self.line(self.goto(place.break_to if kind == "break" else place.continue_to))
                return
            if place.undo:
                self.line(place.undo)
        raise AssertionError(f"{kind} outside of a loop")

    def finish(self) -> None:
        """Leave the function."""
        for place in reversed(self.places):
            if place.undo:
                self.line(place.undo)
        self.line(self.goto(self.end_label))
