"""The programs and libraries that the session has tables of, and searches in those tables.

Tables are maps of their own (:mod:`pystap.debuginfo.objecttable`), found by the file's inode and
device; the session can add more while it runs.  Files without a table that a stack led through
are noted, for the session to add or to warn of.
"""

from __future__ import annotations

from pystap.backend.bpf import helpers, user_mappings
from pystap.backend.bpf.artifact import CONTROL_UNKNOWN_OBJECTS
from pystap.backend.bpf.scope import Scope, runtime_scope
from pystap.backend.bpf.unit import control_word
from pystap.backend.bpf.user_mappings import Reader, find_mapping, found, offset_in_file
from pystap.debuginfo.objecttable import ELEMENT, NARROW_VDSO_INODE, VDSO_INODE
from pystap.typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pystap.backend.bpf.unit import Unit
    from pystap.backend.llvm.builder import FunctionBuilder, Operand, Value

OBJECTS: Final = "user_objects"  # role of the map of tables
UNKNOWN: Final = "unknown_objects"  # role of the map of files without a table
_MOST_OBJECTS: Final = 4096
_MOST_UNKNOWN: Final = 1024
_NOTE: Final = 64  # bytes
_STEPS: Final = 32  # of a binary search
# Words of a search: what lies between low and high may be what is sought.
_LOW, _HIGH, _OFFSET, _SEARCH_SIZE = 0, 8, 16, 24
_SEARCH_AREA: Final = "user_search"
# Words of the header of a table, by their offset in it.
UNWIND, SYMBOLS, PLACES, CALLS, NAMES, PATH, SIZE, DELTA = 0, 8, 16, 24, 32, 36, 40, 48

# Words of what is known of an address, the result of :func:`resolve`.
_RESULT_WORDS: Final = (
    "known", "name", "offset", "size", "module", "module_offset", "module_size", "file", "line",
    "call", "inlined_name", "inlined_offset", "inlined_size", "inlined_file", "inlined_line",
    "address",
)  # fmt: skip
RESULT: Final = {name: 8 * number for number, name in enumerate(_RESULT_WORDS)}
_RESULT_AREA: Final = "user_place"


def objects_map(u: Unit) -> int:
    """The map of tables."""
    return u.add_map(
        OBJECTS, OBJECTS, helpers.MAP_HASH_OF_MAPS, 16, 4, _MOST_OBJECTS, preallocated=True
    )


def unknown_map(u: Unit) -> int:
    """The map of files without a table: inode, device → process, address, end of the path."""
    return u.add_map(UNKNOWN, UNKNOWN, helpers.MAP_HASH, 16, _NOTE, _MOST_UNKNOWN)


class Table:
    """The table of the file of the mapping found last; emits into one function.

    ``address`` is null when there is none.
    """

    __slots__ = ("_b", "_key", "_s", "address", "identity")

    def __init__(self, s: Scope) -> None:
        b = s.b
        self._s = s
        self._b = b
        self._key = b.alloca("i32")
        self.identity = b.alloca("[16 x i8]", align=8)
        where = found(s)
        b.store(b.load("i64", where, user_mappings.INODE), self.identity)
        b.store(b.load("i64", where, user_mappings.DEVICE), self.identity, 8)
        self.address = b.helper(
            helpers.MAP_LOOKUP, "ptr", b.map_fd(objects_map(s.u)), self.identity
        )

    def element(self, number: Value) -> Value:
        """Address of an element; the function ends with 0 when there is none."""
        b = self._b
        b.store(number.trunc("i32"), self._key)
        found_at = b.helper(helpers.MAP_LOOKUP, "ptr", self.address, self._key)
        with b.if_(found_at.eq(0)):
            b.ret(0)
        return found_at

    def header(self, offset: int, ty: str = "i32") -> Value:
        """A number of the header."""
        where = self.element(self._b.const("i64", offset // ELEMENT))
        value = self._b.load(ty, where, offset % ELEMENT)
        return value.zext("i64") if ty == "i32" else value

    def search(self, group: int, offset: Value) -> Value:
        """The number of the last element of a group that begins at or before an offset; the
        function ends with 0 when there is none."""
        b, s = self._b, self._s
        first, count = self.header(group), self.header(group + 4)
        search = s.area(_SEARCH_AREA, _SEARCH_SIZE)
        for value, at in ((first, _LOW), (first + count, _HIGH), (offset, _OFFSET)):
            b.store(value, search, at)
        state = b.alloca("[2 x i64]", align=8)
        b.store(search, state)
        b.store(self.address, state, 8)
        step = _search_step(s.u)
        b.helper(helpers.LOOP, "i64", _STEPS, b.symbol(step), state, 0)
        low = b.load("i64", search, _LOW)
        with b.if_(low.eq(first)):
            b.ret(0)
        return low - 1

    def name(self, place: Value) -> Value:
        """Address of a name, as a number."""
        return self.element(self.header(NAMES)).to_int() + place


def _search_step(u: Unit) -> str:
    """The callback of a binary search: halve what lies between low and high."""
    name = "user_search_step"
    if u.m.defined(name):
        return name
    params = [("i64", "number"), ("ptr", "state")]
    with u.m.function(name, "i64", params, linkage="internal", attrs=["noinline"]) as b:
        search, table = b.load("ptr", b.args[1]), b.load("ptr", b.args[1], 8)
        low, high = b.load("i64", search, _LOW), b.load("i64", search, _HIGH)
        with b.if_(low.uge(high)):
            b.ret(1)
        middle = (low + high) >> 1
        key = b.alloca("i32")
        b.store(middle.trunc("i32"), key)
        element = b.helper(helpers.MAP_LOOKUP, "ptr", table, key)
        with b.if_(element.eq(0)):
            b.ret(1)
        start = b.load("i32", element).zext("i64")
        with b.if_else(start.ule(b.load("i64", search, _OFFSET))) as (before, behind):
            with before:
                b.store(middle + 1, search, _LOW)
            with behind:
                b.store(middle, search, _HIGH)
        b.ret(0)
    return name


def note_unknown(s: Scope, table: Table, address: Value) -> None:
    """Emit the note that a file has no table, once for each."""
    u, b = s.u, s.b
    inode = b.load("i64", table.identity)
    with b.if_(inode.ugt(VDSO_INODE)):
        note = b.alloca(f"[{_NOTE} x i8]", align=8)
        for at in range(16, _NOTE, 8):
            b.store(0, note, at)
        name = _name_of_file(s)
        b.helper(helpers.PROBE_READ_KERNEL_STR, "i64", b.at(note, 16), _NOTE - 16, name)
        b.store(b.helper(helpers.GET_CURRENT_PID_TGID, "i64") >> 32, note)
        b.store(address, note, 8)
        target = b.map_fd(unknown_map(u))
        result = b.helper(helpers.MAP_UPDATE, "i64", target, table.identity, note, helpers.NOEXIST)
        with b.if_(result.trunc("i32").eq(0)):
            counter = control_word(b, u, CONTROL_UNKNOWN_OBJECTS)
            b.atomic_rmw("add", counter, 1, order="monotonic")


# ---- which file is mapped


def emit_identify(u: Unit) -> str:
    """The program by which the session learns how the kernel calls a file that it has mapped.

    Its context: the address of the mapping; the inode and the device are put behind.  (What
    stat(2) and /proc tell is not always what a mapping has, on overlayfs for one.)  Gives the
    name of the function.
    """
    from pystap.backend.bpf.artifact import LEVEL_SESSION

    with u.m.function("identify_object", "i64", [("ptr", "event")]) as b:
        event = b.args[0]
        index = b.const("i64", LEVEL_SESSION)
        s = runtime_scope(u, b, index)
        known = find_mapping(s, index, b.load("i64", event))
        where = found(s)
        b.store(b.load("i64", where, user_mappings.INODE), event, 8)
        b.store(b.load("i64", where, user_mappings.DEVICE), event, 16)
        b.ret(known)
    return "identify_object"


# ---- names of addresses


def result(s: Scope) -> Value:
    """Address of the words about the address that was asked for last."""
    return s.area(_RESULT_AREA, 8 * len(_RESULT_WORDS))


def resolve(s: Scope, address: Value, back: Operand) -> Value:
    """Emit the search for what is known of an address of the current process.

    What ``back`` bytes before it belongs to counts: 1 for return addresses.  Gives 1 when the
    address is in a file, or in what the kernel maps.
    """
    u = s.u
    name = u.function("user_resolve", ["index", "address", "back"], lambda b: _emit_resolve(u, b))
    from pystap.backend.bpf import layout

    return s.b.call(name, s.header(layout.INDEX), address, back)


def _emit_resolve(u: Unit, b: FunctionBuilder) -> None:
    index, address, back = b.args
    s = runtime_scope(u, b, index)
    words = result(s)
    for name in _RESULT_WORDS:
        b.store(0, words, RESULT[name])
    b.store(address, words, RESULT["address"])
    place = address - back
    with b.if_(find_mapping(s, index, place).eq(0)):
        b.ret(0)
    inode = b.load("i64", found(s), user_mappings.INODE)
    with b.if_(inode.ule(NARROW_VDSO_INODE)):
        b.ret(0)
    offset = offset_in_file(s, place)
    b.store(1, words, RESULT["known"])
    b.store(offset + back, words, RESULT["module_offset"])
    b.store(_name_of_file(s), words, RESULT["module"])
    table = Table(s)
    with b.if_(table.address.eq(0)):
        note_unknown(s, table, place)
        b.ret(1)
    move = table.header(DELTA, "i64")
    b.store(offset + back + move, words, RESULT["module_offset"])
    b.store(table.header(SIZE), words, RESULT["module_size"])
    b.store(table.name(table.header(PATH)), words, RESULT["module"])
    b.call(_symbol_function(u), index, offset, back)
    b.call(_place_function(u), index, offset)
    b.ret(1)


def _name_of_file(s: Scope) -> Value:
    """Address of the last part of the path of the file mapped."""
    b = s.b
    reader = Reader(s.u, b)
    file = b.load("i64", found(s), user_mappings.FILE)
    entry = reader.member(file, "file", "f_path", "dentry")
    return reader.member(entry, "dentry", "d_name", "name")


def _symbol_function(u: Unit) -> str:
    def make(b: FunctionBuilder) -> None:
        index, offset, back = b.args
        s = runtime_scope(u, b, index)
        table = Table(s)
        with b.if_(table.address.eq(0)):
            b.ret(0)
        row = table.element(table.search(SYMBOLS, offset))
        start, size, name = (b.load("i32", row, at).zext("i64") for at in (0, 4, 8))
        with b.if_(b.both(size.ne(0), offset.uge(start + size))):
            b.ret(0)
        words = result(s)
        b.store(offset + back - start, words, RESULT["offset"])
        b.store(size, words, RESULT["size"])
        b.store(table.name(name), words, RESULT["name"])
        b.ret(1)

    return u.function("user_symbol", ["index", "offset", "back"], make)


def _place_function(u: Unit) -> str:
    def make(b: FunctionBuilder) -> None:
        index, offset = b.args
        s = runtime_scope(u, b, index)
        table = Table(s)
        with b.if_(table.address.eq(0)):
            b.ret(0)
        row = table.element(table.search(PLACES, offset))
        file, line, call = (b.load("i32", row, at).zext("i64") for at in (4, 8, 12))
        words = result(s)
        b.store(line, words, RESULT["line"])
        b.store(call, words, RESULT["call"])
        with b.if_(file.ne(0)):
            b.store(table.name(file), words, RESULT["file"])
        b.ret(1)

    return u.function("user_place", ["index", "offset"], make)


def next_inlined(s: Scope) -> Value:
    """Emit the step to the next inlined function around the address resolved last, innermost
    first: 1 when there is one.  The file and line of the result become those of its call."""
    from pystap.backend.bpf import layout

    name = s.u.function("user_inlined", ["index"], lambda b: _emit_inlined(s.u, b))
    return s.b.call(name, s.header(layout.INDEX))


def _emit_inlined(u: Unit, b: FunctionBuilder) -> None:
    (index,) = b.args
    s = runtime_scope(u, b, index)
    words = result(s)
    call = b.load("i64", words, RESULT["call"])
    with b.if_(call.eq(0)):
        b.ret(0)
    table = Table(s)
    with b.if_(table.address.eq(0)):
        b.ret(0)
    number = table.header(CALLS) + ((call - 1) << 1)
    row = table.element(number)
    name, start, size, outer = (b.load("i32", row, at).zext("i64") for at in (0, 4, 8, 12))
    b.store(outer, words, RESULT["call"])
    b.store(size, words, RESULT["inlined_size"])
    at = b.load("i64", words, RESULT["address"])
    b.store(offset_in_file(s, at) - start, words, RESULT["inlined_offset"])
    for part in ("file", "line"):
        b.store(b.load("i64", words, RESULT[part]), words, RESULT["inlined_" + part])
    b.store(table.name(name), words, RESULT["inlined_name"])
    row = table.element(number + 1)
    file, line = (b.load("i32", row, at_).zext("i64") for at_ in (0, 4))
    b.store(line, words, RESULT["line"])
    b.store(0, words, RESULT["file"])
    with b.if_(file.ne(0)):
        b.store(table.name(file), words, RESULT["file"])
    b.ret(1)
