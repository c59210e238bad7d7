"""Compiling in a child process: results, errors, and what is left when LLVM ends the child."""

from __future__ import annotations

import faulthandler
import os
import sys
from collections.abc import Iterator

import pytest

from bpf.build import ModuleBuilder, intrinsic, printf
from pystap.backend.bpf import compile as compiler
from pystap.backend.bpf.facts import running_kernel
from pystap.backend.llvm import binding, guarded
from pystap.diag.diagnostic import DiagnosticError
from pystap.ir import ops


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """The test runner's own report on aborts would only be noise."""
    was_enabled = faulthandler.is_enabled()
    faulthandler.disable()
    yield
    if was_enabled:
        faulthandler.enable(sys.__stderr__)


GOOD = b'target triple = "bpfel"\ndefine i64 @f(i64 %x) { ret i64 %x }\n'
OTHER = GOOD.replace(b"@f", b"@g")
NO_SIGNED_DIVISION = (
    b'target triple = "bpfel"\n'
    b"define i64 @f(i64 %x, i64 %y) {\n %q = sdiv i64 %x, %y\n ret i64 %q\n}\n"
)
# Many blocks, because LLVM is slow with large ones; branches in front go behind all of them.
_BLOCK = (
    "b%d:\n %%v%d = load volatile i64, ptr %%p\n %%c%d = icmp eq i64 %%v%d, 0\n"
    " br i1 %%c%d, label %%end, label %%a%d\na%d:\n"
    + " store volatile i64 %%x, ptr %%p\n" * 85
    + " br label %%b%d\n"
)
FAR_BRANCH = (
    'target triple = "bpfel"\ndefine i64 @f(ptr %p, i64 %x) {\n br label %b0\n'
    + "".join(_BLOCK % (*[i] * 7, i + 1) for i in range(400))
    + "b400:\n store volatile i64 1, ptr %p\n br label %end\nend:\n ret i64 1\n}\n"
).encode()


def test_the_object_is_the_same() -> None:
    assert guarded.in_children([GOOD, OTHER]) == [
        binding.compile_object(GOOD),
        binding.compile_object(OTHER),
    ]


def test_small_modules_are_compiled_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fork", lambda: pytest.fail("forked"))
    assert guarded.compile_objects(GOOD) == [binding.compile_object(GOOD)]


def test_large_modules_are_compiled_by_a_child(monkeypatch: pytest.MonkeyPatch) -> None:
    large = GOOD + b";" * guarded.GUARDED_BYTES
    here = binding.compile_object(large)
    monkeypatch.setattr(guarded.binding, "compile_object", lambda _: b"made by the child")
    assert guarded.compile_objects(large) == [b"made by the child"]
    assert here != b"made by the child"


def test_errors_are_llvm_errors() -> None:
    with pytest.raises(binding.LlvmError, match="expected"):
        guarded.in_children([GOOD, b"define nonsense"])


@pytest.mark.parametrize(
    ("text", "reason"),
    [(NO_SIGNED_DIVISION, "unsupported signed division"), (FAR_BRANCH, "out of insn range")],
)
def test_llvm_may_die(text: bytes, reason: str) -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    with pytest.raises(guarded.LlvmDied, match=reason):
        guarded.in_children([text, GOOD])
    assert sorted(os.listdir("/proc/self/fd")) == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_the_script_gets_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def die(_text: bytes) -> list[bytes]:
        raise guarded.LlvmDied("out of insn range")

    monkeypatch.setattr(guarded, "compile_objects", die)
    m = ModuleBuilder()
    m.begin(printf("hello\n"), ops.Eval(intrinsic("exit")))
    with pytest.raises(DiagnosticError) as caught:
        compiler.compile_module(m.module, running_kernel())
    diagnostic = caught.value.diagnostic
    assert "cannot be compiled for BPF (out of insn range)" in diagnostic.message
    assert "probe begin" in diagnostic.notes[0]
    assert "split" in (diagnostic.hint or "")
