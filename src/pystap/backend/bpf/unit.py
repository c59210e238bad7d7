"""What the parts of one compilation share: maps, messages, formats, run-time functions."""

from __future__ import annotations

from collections.abc import Callable

from pystap.backend.bpf import helpers, layout
from pystap.backend.bpf.artifact import CONTROL_WORDS, LOCK_STRIDE, MapSpec
from pystap.backend.bpf.globallayout import GlobalLayout
from pystap.backend.bpf.layout import TOKEN, Frame, round_up
from pystap.backend.llvm.builder import FunctionBuilder, Module, Value
from pystap.typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from pystap.backend.bpf.analysis import Analysis
    from pystap.backend.bpf.calls import Compiled
    from pystap.backend.bpf.facts import KernelFacts
    from pystap.backend.bpf.foreach import Snapshots
    from pystap.backend.bpf.maps import ArrayLayout
    from pystap.backend.bpf.recursion import Machine
    from pystap.backend.bpf.stats import StatLayout
    from pystap.backend.bpf.uprobe_sessions import Pair
    from pystap.backend.bpf.wrapping import Ring
    from pystap.ir import module as ir
    from pystap.ir.types import Global
    from pystap.output.formats import Format

_T = TypeVar("_T")

CONTROL: Final = "control"
CONTEXT: Final = "context"
OUTPUT: Final = "output"
GLOBALS: Final = "globals"


class Unit:
    """One compilation.

    Numbers that are known only at its end (offsets of areas and frames in the context) stand in
    the text between :data:`TOKEN` characters and are put in by :meth:`text`.
    """

    def __init__(self, module: ir.Module, facts: KernelFacts, analysis: Analysis) -> None:
        self.module = module
        self.facts = facts
        self.analysis = analysis
        self.limits = module.limits
        self.m = Module("bpf")
        self.maps: list[MapSpec] = []
        self.messages: list[str] = []
        self.notes: list[str] = []  # see Artifact
        self.formats: list[Format] = []
        self.frames: dict[str, Frame] = {}
        self._own_frames: dict[str, Frame] = {}
        self.callees: dict[str, list[str]] = {}
        self.prototypes: dict[str, int] = {}  # BTF-global functions: number of arguments
        self.max_string = round_up(module.limits.maxstringlen)
        self.event_slots: dict[tuple[str, int], int] = {}
        self._locks: dict[int, int] = {}  # slots by index of the global
        self.lock_words: list[int] = []  # see locks
        self.lock_places: dict[tuple[int, ...], int] = {}
        self._map_indexes: dict[str, int] = {}
        self._message_indexes: dict[str, int] = {}
        self._format_indexes: dict[Format, int] = {}
        self._areas: dict[str, int] = {}
        self._names = 0
        self.arrays: dict[int, ArrayLayout] = {}  # by index of the global
        self.stats: dict[int, StatLayout] = {}
        self.rings: dict[int, Ring] = {}
        self.snapshots: dict[int, Snapshots] = {}
        self.sort_pairs = 0
        self.light: dict[tuple[str, int, int, int], str] = {}  # see programs
        self.armed: dict[tuple[int, int], str] = {}  # likewise
        self.entries: dict[tuple[str, int, int, int, bool], str] = {}  # see attachments
        self.functions: dict[int, Compiled] = {}  # by identity of the IR's function
        self.counts_actions = any(analysis.counts_actions(h) for h in module.handlers)
        # Only recursion can go deeper than MAXNESTING, unless -D made that less.
        self.tracks_nesting = "MAXNESTING" in module.limits.defines or any(
            f.recursive for f in module.functions
        )
        self.machines: list[Machine] = []
        self.stack_slots: dict[tuple[str, str], Value] = {}  # see Scope
        self.user_parts: set[str] = set()  # see Artifact
        self.paired: list[Pair] = []  # probes at entries and returns that share a program
        self.kernel_calls: dict[int, str] = {}  # kernel functions by the number of their calls
        self.late: list[Callable[[], None]] = []  # what is emitted when all else is
        self.globals = GlobalLayout(module.globals, module.limits.maxstringlen)
        self.add_map(CONTROL, "control", helpers.MAP_ARRAY, 4, CONTROL_WORDS * 8, 1, mmap=True)

    # ---- maps

    def add_map(
        self,
        name: str,
        role: str,
        kind: int,
        key_size: int,
        value_size: int,
        entries: int,
        *,
        mmap: bool = False,
        content: bytes = b"",
        frozen: bool = False,
        preallocated: bool = True,
    ) -> int:
        """Index of the map ``name``, added at first use."""
        found = self._map_indexes.get(name)
        if found is not None:
            return found
        flags = (helpers.F_MMAPABLE if mmap else 0) | (helpers.F_RDONLY_PROG if frozen else 0)
        flags |= 0 if preallocated else helpers.F_NO_PREALLOC
        spec = MapSpec(name, role, kind, key_size, value_size, entries, flags, content, frozen)
        self.maps.append(spec)
        self._map_indexes[name] = len(self.maps) - 1
        return len(self.maps) - 1

    def map_index(self, name: str) -> int:
        """Index of a map that was added before."""
        return self._map_indexes[name]

    def context_map(self) -> int:
        """The map of contexts; its value size is put in at the end."""
        return self.add_map(CONTEXT, "context", helpers.MAP_ARRAY, 4, 0, 0, mmap=True)

    def globals_map(self) -> int:
        """The map of scalar globals; its content is put in at the end."""
        return self.add_map(GLOBALS, "globals", helpers.MAP_ARRAY, 4, 0, 1, mmap=True)

    def output_map(self) -> int:
        """The ring buffer."""
        return self.add_map(OUTPUT, "output", helpers.MAP_RINGBUF, 0, 0, 0)

    def lock(self, var: Global) -> int:
        """Slot of a global's lock."""
        return self._locks.setdefault(var.index, len(self._locks))

    @property
    def lock_slots(self) -> int:
        """How many locks there can be."""
        return max(len(self.module.globals), 1)

    def lock_names(self) -> tuple[str, ...]:
        """Names of the globals with locks, by slot."""
        names = {g.index: g.name for g in self.module.globals}
        return tuple(names[index] for index in self._locks)

    def locks_map(self) -> int:
        """The map of locks."""
        size = self.lock_slots * LOCK_STRIDE
        return self.add_map("locks", "locks", helpers.MAP_ARRAY, 4, size, 1, mmap=True)

    def rodata_map(self, content: bytes) -> int:
        """The map of read-only data; -1 when there is none."""
        if not content:
            return -1
        return self.add_map(
            "rodata", "rodata", helpers.MAP_ARRAY, 4, len(content), 1, content=content, frozen=True
        )

    # ---- tables of the artifact

    def message(self, text: str) -> int:
        """Index of a run-time message."""
        return _intern(self.messages, self._message_indexes, text)

    def format(self, fmt: Format) -> int:
        """Item id of a format."""
        return _intern(self.formats, self._format_indexes, fmt)

    # ---- context memory

    def area(self, name: str, size: int) -> str:
        """Token for the offset of an area of the context; the largest size asked for counts."""
        self._areas[name] = max(self._areas.get(name, 0), round_up(size))
        return f"{TOKEN}area.{name}{TOKEN}"

    def frame(self, name: str) -> Frame:
        """A new frame."""
        frame = self.frames[name] = Frame(name)
        self.callees[name] = []
        return frame

    def own_frame(self, name: str) -> Frame:
        """The frame of a run-time function, which overlaps with no other."""
        frame = self._own_frames.get(name)
        if frame is None:
            frame = self._own_frames[name] = Frame(name)
        return frame

    def fresh(self, prefix: str) -> str:
        """A function name not used before."""
        self._names += 1
        return f"{prefix}.{self._names}"

    # ---- functions

    def function(
        self, name: str, params: list[str], make: Callable[[FunctionBuilder], None]
    ) -> str:
        """A function the verifier checks once, on its own: parameters and result are longs.

        ``make`` emits its body when it is first asked for.  Returns the name.  It is weak so
        that LLVM knows no more of its result than the verifier does: nothing.
        """
        if name not in self.prototypes:
            self.prototypes[name] = len(params)
            types = [("i64", p) for p in params]
            with self.m.function(name, "i64", types, linkage="weak", attrs=["noinline"]) as b:
                make(b)
        return name

    def subroutine(
        self,
        name: str,
        params: list[tuple[str, str]],
        make: Callable[[FunctionBuilder], None],
        *,
        hot: bool = False,
    ) -> str:
        """A function for what is emitted in many places: it gives an ``i64``.

        The verifier looks at it at each of its calls, so it may have pointers to anything as
        parameters.  Otherwise as :meth:`function`.  A ``hot`` one is inlined in small modules, as
        a call takes about 10 ns where returns are guarded against speculation.
        """
        if not self.m.defined(name):
            how = "alwaysinline" if hot and not self.analysis.large else "noinline"
            with self.m.function(name, "i64", params, linkage="internal", attrs=[how]) as b:
                make(b)
        return name

    def late_function(
        self, name: str, params: list[str], make: Callable[[FunctionBuilder], None]
    ) -> str:
        """Like :meth:`function`, but the body is emitted when everything else was."""
        if name not in self.prototypes:
            self.m.forward(name, "i64", ["i64"] * len(params))

            def define() -> None:
                del self.prototypes[name]
                self.function(name, params, make)

            self.prototypes[name] = len(params)
            self.late.append(define)
        return name

    def text(self) -> bytes:
        """The module's IR with all tokens replaced."""
        numbers, size = self._place()
        if CONTEXT in self._map_indexes:
            index = self._map_indexes[CONTEXT]
            self.maps[index] = self.maps[index]._replace(value_size=size)
        if GLOBALS in self._map_indexes:
            content = bytes(self.globals.content)
            index = self._map_indexes[GLOBALS]
            self.maps[index] = self.maps[index]._replace(value_size=len(content), content=content)
        pieces = self.m.text().split(TOKEN.encode())
        for i in range(1, len(pieces), 2):
            pieces[i] = b"%d" % numbers[pieces[i].decode("latin-1")]
        return b"".join(pieces)

    def _place(self) -> tuple[dict[str, int], int]:
        numbers: dict[str, int] = {}
        for machine in self.machines:
            machine.place(numbers)
        at = layout.HEADER_SIZE
        for name, size in self._areas.items():
            numbers[f"area.{name}"] = at
            at += size
        frames, end = layout.place_frames(at, self.frames, self.callees)
        numbers.update((f"frame.{name}", offset) for name, offset in frames.items())
        for name, frame in self._own_frames.items():
            numbers[f"frame.{name}"] = end
            end += frame.size
        return numbers, end


def _intern(table: list[_T], indexes: dict[_T, int], entry: _T) -> int:
    """Index of an entry in a table, to which it is added when it is new."""
    index = indexes.get(entry)
    if index is None:
        index = indexes[entry] = len(table)
        table.append(entry)
    return index


def control_word(b: FunctionBuilder, unit: Unit, word: int) -> Value:
    """Address of a word of the control map."""
    return b.map_value(unit.map_index(CONTROL), word * 8)


def area(b: FunctionBuilder, context: Value, token: str) -> Value:
    """Address of an area of the context."""
    return b.emit("ptr", f"getelementptr i8, ptr {context.text}, i64 {token}")
