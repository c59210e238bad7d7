"""Unwind rows of a program: how to get from a function's frame to its caller's, by address.

Read from ``.eh_frame`` and ``.debug_frame`` (DWARF 5, section 6.4; the Linux Standard Base's
"Exception Frames") and made so compact and so plain that a program in the kernel can follow them:
what x86-64 compilers and libraries really emit is kept, the rest becomes "unknown".

Rows of 32-bit programs are alike, with words of 4 bytes; registers have their x86-64 numbers, but
esi and edi, which calls keep there, stand in the places of r12 and r13.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from pystap.debuginfo.elf import SHT_NOBITS, Elf
from pystap.typing import Final, NamedTuple

# How a row computes the canonical frame address (CFA).  Others are REGISTER + n or DEREF + n.
UNKNOWN: Final = 0  # no unwind information
END: Final = 1  # nothing called this code
SIGNAL: Final = 2  # the frame that the kernel made to deliver a signal
PLT: Final = 3  # a stub of the procedure linkage table that pushes a word halfway
REGISTER: Final = 0x20  # + DWARF number: that register plus the row's offset
DEREF: Final = 0x40  # + DWARF number: what is in memory there

#: registers a row tells about, besides the stack pointer and the return address
SAVED: Final = (3, 6, 12, 13, 14, 15)  # rbx rbp r12 r13 r14 r15
SAME: Final = 0  # the register still has the caller's value
LOST: Final = 127
AT_FRAME: Final = 126  # rbp: in memory where rbp points to

_RETURN: Final = 16  # DWARF number of the return address
_RBP: Final = 6
_RSP: Final = 7
_FARTHEST: Final = 120  # words between a saved register and the CFA


class _Machine(NamedTuple):
    """What rows depend on: bytes of a word, our number of each register, how an address is
    written, and the expressions for the stubs of procedure linkage tables."""

    word: int
    registers: tuple[int, ...]
    address: str
    plt_models: tuple[bytes, ...]

    def number(self, register: int) -> int:
        """Our number of a register, one that is not followed for others."""
        known = self.registers
        return known[register] if register < len(known) else _RETURN + 1 + register

    def in_words(self, offset: int) -> int:
        """The rule of a register saved at an offset in bytes from the CFA."""
        words, rest = divmod(offset, self.word)
        return LOST if rest or not -_FARTHEST <= words <= _FARTHEST or words == SAME else words


_X86_64: Final = _Machine(
    8,
    tuple(range(_RETURN + 1)),
    "<Q",
    (  # breg7 8, breg16 0, lit15, and, lit11 or lit10, ge, lit3, shl, plus
        bytes.fromhex("770880003f1a3b2a332422"),
        bytes.fromhex("770880003f1a3a2a332422"),
    ),
)
# eax ecx edx ebx esp ebp esi edi eip (System V ABI, Intel386 supplement, table 2.14)
_I386: Final = _Machine(
    4,
    (0, 2, 1, 3, _RSP, 6, 12, 13, _RETURN),
    "<I",
    (bytes.fromhex("740478003f1a3b2a322422"), bytes.fromhex("740478003f1a3a2a322422")),
)


class Row(NamedTuple):
    """From ``address`` on: the CFA is what ``kind`` says with ``offset``.

    ``saved`` tells for each of :data:`SAVED` where the caller's value is: in words from the CFA,
    or SAME, LOST, AT_FRAME.
    """

    address: int
    kind: int
    offset: int
    saved: tuple[int, ...]


_UNCHANGED: Final = (SAME,) * len(SAVED)


class _Cie(NamedTuple):
    machine: _Machine
    code_align: int
    data_align: int
    encoding: int  # of addresses; -1: plain ones
    signal: bool
    initial: bytes
    augmented: bool
    usable: bool


def read_rows(elf: Elf) -> list[Row]:
    """All rows of a file by address; what is between functions is UNKNOWN."""
    pieces: dict[int, tuple[int, list[Row]]] = {}
    for name in (".eh_frame", ".debug_frame"):
        section = elf.section(name)
        if section is None or section.kind == SHT_NOBITS or section.flags & 0x800:
            continue
        data = elf.section_bytes(section)
        machine = _X86_64 if elf.bits == 64 else _I386
        reader = _Section(data, section.address, name == ".eh_frame", machine)
        for start, end, rows in reader.functions():
            pieces.setdefault(start, (end, rows))
    found: list[Row] = []
    behind = -1
    for start in sorted(pieces):
        end, rows = pieces[start]
        if start < behind:
            continue  # two descriptions of the same code: the first counts
        if behind >= 0 and start > behind:
            found.append(Row(behind, UNKNOWN, 0, _UNCHANGED))
        found += rows
        behind = end
    if behind >= 0:
        found.append(Row(behind, UNKNOWN, 0, _UNCHANGED))
    return found


class _Section:
    """One of the sections, both of which are lists of CIEs and FDEs."""

    def __init__(self, data: bytes, address: int, is_eh: bool, machine: _Machine) -> None:
        self._machine = machine
        self._data = data
        self._address = address
        self._is_eh = is_eh
        self._cies: dict[int, _Cie | None] = {}

    def functions(self) -> Iterator[tuple[int, int, list[Row]]]:
        """First address, the one behind, and rows of each function."""
        for start, end in self._entries():
            try:
                found = self._function(start, end)
            except (IndexError, ValueError, struct.error):
                continue  # a damaged entry tells nothing
            if found is not None:
                yield found

    def _entries(self) -> Iterator[tuple[int, int]]:
        """Where entries are, from behind their length."""
        data, at = self._data, 0
        while at + 4 <= len(data):
            (length,) = struct.unpack_from("<I", data, at)
            at += 4
            if length == 0:
                if self._is_eh:
                    continue  # an end mark, which sections that were joined have in between
                return
            if length >= 0xFFFF_FFF0 or at + length > len(data):
                return
            yield at, at + length
            at += length

    def _function(self, at: int, end: int) -> tuple[int, int, list[Row]] | None:
        (pointer,) = struct.unpack_from("<I", self._data, at)
        if pointer == (0 if self._is_eh else 0xFFFF_FFFF):
            return None  # a CIE
        cie = self._cie((at - pointer if self._is_eh else pointer) + 4)
        if cie is None:
            return None
        start, here = self._pointer(at + 4, cie.encoding)
        size, here = self._pointer(here, cie.encoding & 0x0F if cie.encoding >= 0 else -1)
        if start == 0 or size <= 0:
            return None  # of a function that the linker dropped
        if cie.augmented:
            length, here = _uleb(self._data, here)
            here += length
        if cie.signal:
            kind = SIGNAL if self._machine is _X86_64 else UNKNOWN
            return start, start + size, [Row(start, kind, 0, _UNCHANGED)]
        rows = _run(cie, self._data[here:end], start)
        return start, start + size, rows

    def _cie(self, at: int) -> _Cie | None:
        if at not in self._cies:
            self._cies[at] = self._read_cie(at)
        return self._cies[at]

    def _read_cie(self, at: int) -> _Cie | None:
        data = self._data
        (length,) = struct.unpack_from("<I", data, at - 4)
        end = at + length
        version = data[at + 4]
        stop = data.index(b"\0", at + 5)
        augmentation = data[at + 5 : stop].decode("latin-1")
        here = stop + 1
        if version >= 4:
            here += 2  # sizes of addresses and segments
        code_align, here = _uleb(data, here)
        data_align, here = _sleb(data, here)
        if version == 1:
            register, here = data[here], here + 1
        else:
            register, here = _uleb(data, here)
        encoding = 0 if self._is_eh else -1
        augmented = augmentation.startswith("z")
        if augmented:
            length, here = _uleb(data, here)
            encoding = self._encoding(augmentation, here, encoding)
            here += length
        elif augmentation:
            return None  # nobody has made others for decades
        return _Cie(
            self._machine, code_align, data_align, encoding, "S" in augmentation, data[here:end],
            augmented, self._machine.number(register) == _RETURN,
        )  # fmt: skip

    def _encoding(self, augmentation: str, here: int, encoding: int) -> int:
        for letter in augmentation[1:]:
            if letter == "R":
                return self._data[here]
            if letter == "L":
                here += 1
            elif letter == "P":
                _, here = self._pointer(here + 1, self._data[here])
        return encoding

    def _pointer(self, at: int, encoding: int) -> tuple[int, int]:
        """An address in one of the encodings, and where it ends."""
        word = self._machine.word
        kind = encoding & 0x0F
        if encoding < 0 or kind == 0:
            (value,) = struct.unpack_from(self._machine.address, self._data, at)
            kind = encoding = max(encoding, 0)
            end = at + word
        elif kind == 1:
            value, end = _uleb(self._data, at)
        elif kind == 9:
            value, end = _sleb(self._data, at)
        else:
            form = _FORMS.get(kind)
            if form is None:
                raise IndexError(f"pointer encoding {encoding:#x}")
            (value,) = struct.unpack_from(form, self._data, at)
            end = at + struct.calcsize(form)
        if encoding & 0x70 == 0x10:  # relative to its own place
            value += self._address + at
        return value & (1 << 8 * word) - 1, end


_FORMS: Final = {2: "<H", 3: "<I", 4: "<Q", 10: "<h", 11: "<i", 12: "<q"}


# ---- the instructions of an entry


class _State:
    """Rules at an address: kind and offset of the CFA, and of registers that are not SAME."""

    __slots__ = ("kind", "offset", "rules")

    def __init__(self, kind: int, offset: int, rules: dict[int, int]) -> None:
        self.kind = kind
        self.offset = offset
        self.rules = rules

    def copy(self) -> _State:
        return _State(self.kind, self.offset, dict(self.rules))

    def row(self, address: int) -> Row:
        rules = self.rules
        kind = self.kind
        back = rules.get(_RETURN)
        if back == _UNDEFINED:
            kind = END
        elif back is not None and back != -1:
            kind = UNKNOWN  # the return address is nowhere that rows can tell
        if _RSP in rules:
            kind = UNKNOWN
        return Row(address, kind, self.offset, tuple([rules.get(r, SAME) for r in SAVED]))


_UNDEFINED: Final = 1 << 20  # as a rule of the return address


def _run(cie: _Cie, program: bytes, start: int) -> list[Row]:
    """The rows that the instructions of a function, behind those of its CIE, make."""
    state = _State(UNKNOWN, 0, {})
    if not cie.usable:
        return [state.row(start)]
    rows: list[Row] = []
    address = _execute(cie, cie.initial, start, state, None, rows)
    initial = state.copy()
    _execute(cie, program, address, state, initial, rows)
    return rows


def _execute(
    cie: _Cie, program: bytes, address: int, state: _State, initial: _State | None, rows: list[Row]
) -> int:
    """Run instructions on a state; a row is added for each address left behind."""
    stack: list[_State] = []
    at, size = 0, len(program)
    data_align, machine = cie.data_align, cie.machine

    def advance(distance: int) -> int:
        if distance:
            _add(rows, state.row(address))
        return address + distance * cie.code_align

    while at < size:
        code = program[at]
        at += 1
        top = code >> 6
        if top == 1:
            address = advance(code & 0x3F)
        elif top == 2:
            offset, at = _uleb(program, at)
            state.rules[machine.number(code & 0x3F)] = machine.in_words(offset * data_align)
        elif top == 3:
            _restore(state, initial, machine.number(code & 0x3F))
        elif code == 0x01:  # set_loc: only compilers of long ago
            raise IndexError("DW_CFA_set_loc")
        elif code in _ADVANCES:
            form, width = _ADVANCES[code]
            distance = struct.unpack_from(form, program, at)[0]
            at += width
            address = advance(distance)
        elif code == 0x0A:
            stack.append(state.copy())
        elif code == 0x0B:
            old = stack.pop()
            state.kind, state.offset, state.rules = old.kind, old.offset, old.rules
        else:
            at = _other(cie, program, at, code, state, initial)
    if initial is not None:
        _add(rows, state.row(address))
    return address


_ADVANCES: Final = {0x02: ("<B", 1), 0x03: ("<H", 2), 0x04: ("<I", 4)}


def _other(
    cie: _Cie, program: bytes, at: int, code: int, state: _State, initial: _State | None
) -> int:
    """An instruction that neither moves on nor uses the stack; where the next one is."""
    if code in (0x00, 0x2D):  # nop, GNU_window_save
        return at
    if code == 0x2E:  # GNU_args_size
        return _uleb(program, at)[1]
    if code == 0x0F:  # def_cfa_expression
        length, at = _uleb(program, at)
        state.kind, state.offset = _cfa_expression(program[at : at + length], cie.machine)
        return at + length
    if code in (0x0E, 0x13):  # def_cfa_offset, def_cfa_offset_sf
        state.offset, at = _uleb(program, at) if code == 0x0E else _sleb(program, at)
        if code == 0x13:
            state.offset *= cie.data_align
        return at
    register, at = _uleb(program, at)
    register = cie.machine.number(register)
    if code in (0x0C, 0x12):  # def_cfa, def_cfa_sf
        offset, at = _uleb(program, at) if code == 0x0C else _sleb(program, at)
        state.kind = _of_register(register)
        state.offset = offset if code == 0x0C else offset * cie.data_align
    elif code == 0x0D:  # def_cfa_register
        state.kind = _of_register(register)
    elif code in (0x05, 0x11):  # offset_extended, offset_extended_sf
        offset, at = _uleb(program, at) if code == 0x05 else _sleb(program, at)
        state.rules[register] = cie.machine.in_words(offset * cie.data_align)
    elif code == 0x06:
        _restore(state, initial, register)
    elif code == 0x07:
        state.rules[register] = _UNDEFINED if register == _RETURN else LOST
    elif code == 0x08:
        state.rules.pop(register, None)
    elif code == 0x2F:  # GNU_negative_offset_extended
        offset, at = _uleb(program, at)
        state.rules[register] = cie.machine.in_words(-offset * cie.data_align)
    elif code == 0x09:  # register
        _, at = _uleb(program, at)
        state.rules[register] = LOST
    elif code in (0x14, 0x15):  # val_offset, val_offset_sf
        _, at = _uleb(program, at) if code == 0x14 else _sleb(program, at)
        state.rules[register] = LOST
    elif code in (0x10, 0x16):  # expression, val_expression
        length, at = _uleb(program, at)
        own = bytes((0x70 + cie.machine.registers.index(_RBP), 0))  # breg of rbp, 0
        at_frame = code == 0x10 and register == _RBP and program[at : at + length] == own
        state.rules[register] = AT_FRAME if at_frame else LOST
        at += length
    else:
        raise IndexError(f"call frame instruction {code:#x}")
    return at


def _restore(state: _State, initial: _State | None, register: int) -> None:
    rule = None if initial is None else initial.rules.get(register)
    if rule is None:
        state.rules.pop(register, None)
    else:
        state.rules[register] = rule


def _of_register(register: int) -> int:
    return REGISTER + register if register < _RETURN else UNKNOWN


def _cfa_expression(code: bytes, machine: _Machine) -> tuple[int, int]:
    """Kind and offset for the expressions there are: of PLT stubs, of realigned stacks."""
    if code in machine.plt_models:
        return PLT, 0
    if code and 0x70 <= code[0] <= 0x7F:  # breg0..breg15
        offset, at = _sleb(code, 1)
        register = machine.number(code[0] - 0x70)
        if register < _RETURN and code[at:] == b"\x06":  # deref
            return DEREF + register, offset
        if not code[at:]:
            return _of_register(register), offset
    return UNKNOWN, 0


def _add(rows: list[Row], row: Row) -> None:
    """Add a row unless it says what the one before says."""
    if rows and rows[-1].address == row.address:
        rows.pop()
    if not rows or rows[-1][1:] != row[1:]:
        rows.append(row)


def _uleb(data: bytes, at: int) -> tuple[int, int]:
    value = data[at]
    at += 1
    if value < 0x80:
        return value, at
    value &= 0x7F
    shift = 7
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _sleb(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return (value - (1 << shift) if byte & 0x40 else value), at
