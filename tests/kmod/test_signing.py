"""Modules signed with the key of the machine's owner."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lab import kernels, machine
from lab.modules import Module, Modules
from pystap.backend.kmod.signing import MARK, SigningError, owner_key, signed
from stap import ROOT, stap

HELLO = 'probe begin { println("hello") exit() }'
SIGNED = Module("--sign-module", "-e", HELLO)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SYSTEMTAP_DIR", str(tmp_path / "home"))
    return tmp_path / "home"


def test_key_is_made_once(home: Path) -> None:
    key = owner_key()
    assert key.is_new
    assert key.private.parent == key.certificate.parent == home / "signing"
    assert key.private.stat().st_mode & 0o777 == 0o600
    assert key.private.parent.stat().st_mode & 0o777 == 0o700
    content = key.private.read_bytes()
    again = owner_key()
    assert not again.is_new
    assert again.private.read_bytes() == content


def test_signature_is_of_the_module(home: Path, tmp_path: Path) -> None:
    key, module = owner_key(), bytes(range(256)) * 100
    data = signed(module, key)
    assert data.startswith(module)
    assert data.endswith(MARK)
    assert signed(data, key).startswith(module)
    assert len(signed(data, key)) == len(data)  # in place of the first signature
    size = int.from_bytes(data[-len(MARK) - 4 : -len(MARK)], "big")
    signature, content, pem = (tmp_path / name for name in ("signature", "content", "pem"))
    signature.write_bytes(data[len(module) : len(module) + size])
    assert len(data) == len(module) + size + 12 + len(MARK)
    openssl("x509", "-inform", "DER", "-in", str(key.certificate), "-out", str(pem))
    words = ["cms", "-verify", "-binary", "-inform", "DER", "-in", str(signature), "-content"]
    words += [str(content), "-certfile", str(pem), "-CAfile", str(pem), "-purpose", "any"]
    content.write_bytes(module)
    assert openssl(*words) == 0
    content.write_bytes(module[:-1] + b"x")
    assert openssl(*words) != 0


def openssl(*words: str) -> int:
    return subprocess.run(["openssl", *words], capture_output=True, check=False).returncode


def test_without_openssl(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SigningError, match="signing needs openssl"):
        owner_key()


def test_only_signed_modules_are_loaded(home: Path, tmp_path: Path) -> None:
    kernel = kernels.get("6.12")
    words = ["--runtime=kernel", "-p4", "-r", kernel.build, "-e", HELLO]
    plain = stap(*words, timeout=300).out.strip()
    made = stap("--sign-module", *words, timeout=300)
    assert "mokutil --import" in made.err
    assert made.status == 0
    run = f"{sys.executable} -m pystap.staprun"
    script = f"{run} {plain}; echo $?; {run} {made.out.strip()}; echo $?"
    out = tmp_path / "out"
    settings = machine.Settings(
        append="module.sig_enforce=1",
        environment={"PYTHONPATH": str(ROOT / "src")},
        directory=ROOT,
    )
    with out.open("w") as file:
        ending = machine.run(kernel, ["sh", "-c", script], settings, file.fileno(), file.fileno())
    assert ending.exit_status == 0, ending.trouble()
    lines = out.read_text().splitlines()
    assert lines[1::2] == ["1", "1"], lines
    assert (
        "the kernel loads signed modules only; sign this one with stap --sign-module" in lines[0]
    )
    assert "the kernel does not trust the key this module is signed with" in lines[2]


@pytest.mark.lab
def test_signed_module_is_loaded(modules: Modules) -> None:
    """The kernel refuses a signature that it cannot read, even when it does not need one."""
    assert MARK in modules.build(SIGNED).read_bytes()[-100:]
    done = modules.run(SIGNED)
    assert (done.out, done.err, done.status) == ("hello\n", "", 0)
