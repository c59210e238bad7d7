"""System call texts made in the kernel: the same as those of the reference decoder."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path

import pytest

from bpf.build import ModuleBuilder
from bpf.harness import output_of
from datadriven import Case, load_cases
from probes.sysargs import parse_call
from pystap.backend.reference.text import quoted
from pystap.ir import ops
from pystap.output.formatspec import parse_format
from pystap.probes.syscall_decode import argstr, retstr, syscall_name

_HERE = Path(__file__).parent
_LIMIT = 512


class OwnMemory:
    """Memory of this very process, where the programs run, too."""

    def __init__(self) -> None:
        self._kept: list[ctypes.Array[ctypes.c_char]] = []
        self._ranges: list[range] = []

    def put(self, data: bytes) -> int:
        """Place an object; its address."""
        buffer = ctypes.create_string_buffer(data, len(data) + 8)
        self._kept.append(buffer)
        address = ctypes.addressof(buffer)
        self._ranges.append(range(address, address + len(buffer)))
        return address

    def read(self, address: int, size: int) -> bytes | None:
        """Bytes of an object, and what follows it."""
        if not any(address in known for known in self._ranges):
            return None
        return ctypes.string_at(address, size)

    def string_quoted(self, address: int, most: int, room: int) -> str:
        """As the intrinsic."""
        if address == 0:
            return "NULL"
        if self.read(address, 1) is None:
            return f"{address:#x}"
        text = ctypes.string_at(address).decode("latin-1")
        return quoted(text[:most], room, _LIMIT, cut=len(text) > most)

    def buffer_quoted(self, address: int, size: int, room: int) -> str:
        """As the intrinsic."""
        data = self.read(address, size)
        return f"{address:#x}" if data is None else quoted(data.decode("latin-1"), room, _LIMIT)


def printed(texts: Sequence[ops.Expr]) -> list[str]:
    """What the kernel makes of string expressions."""
    m = ModuleBuilder()
    line = parse_format("%s\n")
    m.begin(*(ops.Emit(line, [text]) for text in texts))
    output, errors = output_of(m.module)
    assert not errors
    return output.decode("latin-1").split("\n")[:-1]


def constant(value: int) -> ops.Expr:
    return ops.Const(value - (1 << 64) if value >> 63 else value)


@pytest.mark.parametrize("case", load_cases(_HERE / "argstr.test"), ids=str)
def test_same_as_the_reference(case: Case) -> None:
    memory = OwnMemory()
    expected, made = [], []
    for line in case.input.splitlines():
        number, args = parse_call(line, memory)
        expected.append(argstr(number, args, memory))
        made.append(ops.Intrinsic("syscall_argstr", [constant(v) for v in (number, *args)]))
    assert printed(made) == expected


def test_single_arguments() -> None:
    memory = OwnMemory()
    number, args = parse_call('openat -100 "/etc/passwd" 0x80000 0', memory)
    made, expected = [], []
    for selected in range(1, 8):
        nr = number | selected << 16
        made.append(ops.Intrinsic("syscall_argstr", [constant(v) for v in (nr, *args)]))
        expected.append(argstr(nr, args, memory))
    assert printed(made) == expected
    assert expected[:3] == ["AT_FDCWD", '"/etc/passwd"', "O_RDONLY|O_CLOEXEC"]


def test_long_texts_end_at_the_same_byte() -> None:
    memory = OwnMemory()
    expected, made = [], []
    for size in range(440, 520, 3):
        escapes = "\\n\\x01a" * (size // 12)
        long = "b" * (size // 3)
        line = f'mount "{long}" "{escapes}" "{long}" 0 "{escapes}"'
        number, args = parse_call(line, memory)
        expected.append(argstr(number, args, memory))
        made.append(ops.Intrinsic("syscall_argstr", [constant(v) for v in (number, *args)]))
    assert max(map(len, expected)) >= 508
    assert printed(made) == expected


def test_results() -> None:
    values = [3, 0, -2, -38, -512, -4000, -4095, -4096, -5000, 0x7F0000001000, 1 << 63]
    made, expected = [], []
    for name in (0, 9, 12, 95, 102, 336, 500, 4711):
        for value in values:
            word = value & (1 << 64) - 1
            made.append(ops.Intrinsic("syscall_retstr", [constant(name), constant(word)]))
            expected.append(retstr(name, value))
    assert printed(made) == expected


def test_names() -> None:
    numbers = [0, 17, 17 | 1 << 16, 262, 262 | 1 << 16, 469, 511, 512, 4711, 4711 | 1 << 16]
    made = [ops.Intrinsic("syscall_name", [constant(number)]) for number in numbers]
    assert printed(made) == [syscall_name(number) for number in numbers]
