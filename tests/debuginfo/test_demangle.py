"""Readable names of C++ and Rust functions."""

from __future__ import annotations

import subprocess

import pytest

from pystap.debuginfo.demangle import demangle

RUST = {
    "_RNvCs1234_7mycrate3foo": "mycrate::foo",
    "_RNvNtCs1234_7mycrate6module3foo": "mycrate::module::foo",
    "_RNvMCs1234_7mycrateNtB2_4Type3new": "<mycrate::Type>::new",
    "_RNvXCs1234_7mycrateNtB2_4TypeNtB2_5Trait3run": "<mycrate::Type as mycrate::Trait>::run",
    "_RINvCs1234_7mycrate3foolhE": "mycrate::foo::<i32, u8>",
    "_RINvCs1234_7mycrate3fooReE": "mycrate::foo::<&str>",
    "_RINvCs1234_7mycrate3fooQShE": "mycrate::foo::<&mut [u8]>",
    "_RINvCs1234_7mycrate3fooTlbEE": "mycrate::foo::<(i32, bool)>",
    "_RINvCs1234_7mycrate3fooAhj4_E": "mycrate::foo::<[u8; 4]>",
    "_RINvCs1234_7mycrate3fooFUKClEuE": 'mycrate::foo::<unsafe extern "C" fn(i32)>',
    "_RINvCs1234_7mycrate3fooDNtNtC4core3fmt5DebugEL_E": "mycrate::foo::<dyn core::fmt::Debug>",
    "_RNCNvCs1234_7mycrate4main0B3_": "mycrate::main::{closure#0}",
    "_RNCNvCs1234_7mycrate4mains_0B3_": "mycrate::main::{closure#1}",
    "_RNvCs1234_7mycrate3foo.llvm.123": "mycrate::foo [clone .llvm.123]",
}
OLDER = {
    "_ZN4core3fmt9Formatter3pad17h0123456789abcdefE": "core::fmt::Formatter::pad",
    "_ZN58_$LT$alloc..string..String$u20$as$u20$core..fmt..Debug$GT$3fmt17h0123456789abcdefE":
        "<alloc::string::String as core::fmt::Debug>::fmt",
}  # fmt: skip
PLAIN = ("main", "_start", "_Z", "_R", "_Rsomething", "_Zebra", "", "__libc_start_main", "_RNv")
CPLUSPLUS = (
    "_Z3foov", "_ZN5outer5thing4leafIlEEiT_", "_ZNSt6vectorIiSaIiEE9push_backEOi",
    "_ZTV5thing", "_ZGVZ4mainE1x",
    "_Z1fIXadL_Z1gvEEEvv",
)  # fmt: skip


@pytest.mark.parametrize(("mangled", "readable"), [*RUST.items(), *OLDER.items()])
def test_rust(mangled: str, readable: str) -> None:
    assert demangle(mangled) == readable


@pytest.mark.parametrize("name", PLAIN)
def test_other_names_stay(name: str) -> None:
    assert demangle(name) == name


def test_cplusplus_as_filter() -> None:
    """c++filt(1) is of another implementation."""
    done = subprocess.run(
        ["c++filt"], input="\n".join(CPLUSPLUS), capture_output=True, text=True, check=True
    )
    assert [demangle(name) for name in CPLUSPLUS] == done.stdout.splitlines()


def test_clones() -> None:
    assert demangle("_Z3foov.part.0") == "foo() [clone .part.0]"


def test_damaged_names_end() -> None:
    for mangled in RUST:
        for size in range(len(mangled)):
            demangle(mangled[:size])
            demangle(mangled[:size] + "B_" + mangled[size:])
