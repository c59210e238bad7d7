"""The direct binding: compilation, messages, and staying clear of llvmlite's own package."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from pystap.backend.llvm import binding
from pystap.backend.llvm.binding import LlvmError

from .machines import build

HEAD = b'target triple = "bpfel"\n'


def test_every_level_compiles() -> None:
    text = build("bpf", lambda b: b.ret(b.load("i64", b.args[0]))).text()
    for level in range(4):
        assert binding.compile_object(text, opt_level=level)[:4] == b"\x7fELF"
    with pytest.raises(ValueError, match="0 to 3"):
        binding.compile_object(text, opt_level=4)


def test_debugging_views() -> None:
    text = build("bpf", lambda b: b.ret(b.load("i64", b.args[0]) + 2 + 3)).text()
    assert "add i64 %v1, 5" in binding.optimized_ir(text)
    assert "r0 += 5" in binding.assembly(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"nonsense", "expected top-level entity"),
        (b"define i64 @f() {\n ret i32 0\n}", "value doesn't match function result type 'i64'"),
        (
            b"define i64 @f() {\n %a = add i64 %b, 1\n %b = add i64 %a, 1\n ret i64 %a\n}",
            "Instruction does not dominate all uses",
        ),
    ],
)
def test_messages_are_those_of_llvm(text: bytes, message: str) -> None:
    with pytest.raises(LlvmError, match=message):
        binding.compile_object(HEAD + text)


def test_unknown_target() -> None:
    with pytest.raises(LlvmError, match="nowhere"):
        binding.compile_object(b"", "nowhere")


def test_llvm_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", ["/nonexistent"])
    with pytest.raises(LlvmError, match="install the Python package llvmlite"):
        binding.library_path()


def test_library_is_loaded_without_the_package() -> None:
    script = (
        "import sys\n"
        "from pystap.backend.llvm import binding\n"
        "binding.compile_object(b'target triple = \"bpfel\"')\n"
        "assert not [m for m in sys.modules if m.startswith('llvmlite')]\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_threads_compile_side_by_side() -> None:
    text = build("bpf", lambda b: b.ret(b.load("i64", b.args[0]) * 7)).text()
    expected = binding.compile_object(text)
    results: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: results.append(binding.compile_object(text)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected] * 4
