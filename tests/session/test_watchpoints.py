"""Watchpoints on memory of the target, and what is said where points cannot be attached."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import watched
from pystap.kernel.features import Features
from stap import ROOT, stap


@pytest.fixture
def program(tmp_path: Path) -> tuple[Path, int]:
    """A program, and where in its memory a variable is."""
    return watched.program(tmp_path)


def test_memory_of_the_target(program: tuple[Path, int]) -> None:
    path, address = program
    script = f"""
    global writes, accesses
    probe process.data({address:#x}).length(8).write {{
      writes[pid() == target(), user_mode(), probe_type()]++
    }}
    probe process.data({address:#x}).rw {{ accesses++ }}
    probe end {{
      foreach ([own+, user, kind] in writes)
        println(own, user, " ", kind, " ", writes[own, user, kind])
      println(accesses)
    }}
    """
    done = stap("-c", path, "-e", script)
    assert done.err == ""
    assert done.out.splitlines() == ["01 hwbkpt 1", "11 hwbkpt 5", "7"]


@pytest.mark.parametrize(
    ("point", "message"),
    [
        ("kernel.data(0x1001).length(4).write", "begins at a multiple of 4, not 0x1001"),
        ("kernel.data(0x1000).length(3).rw", "a watchpoint is 1, 2, 4, 8 bytes long, not 3"),
        ('kernel.data("no_such_thing_there").write', "the kernel has no variable"),
        ("process.data(0x1000).write", "whose memory? process.data needs -c or -x"),
        ('kernel.lsm("file_opem")', "no security hook 'file_opem'"),
        ('netfilter.hook("NF_INET_LOCAL_IM").pf("NFPROTO_IPV4")', "similar: NF_INET_LOCAL_IN"),
        ('netfilter.hook("NF_INET_LOCAL_IN").pf("NFPROTO_IPV5")', "no protocol family"),
        (
            'netfilter.hook("NF_INET_LOCAL_IN").pf("NFPROTO_IPV4").priority("NF_IP_PRI_FILTR")',
            "similar: NF_IP_PRI_FILTER",
        ),
        ('netfilter.hook("NF_BR_FORWARD").pf("NFPROTO_BRIDGE")', "takes no BPF programs at hooks"),
    ],
)
def test_what_cannot_be(point: str, message: str) -> None:
    done = stap("-p2", "-e", f"probe {point} {{ exit() }}")
    assert done.status == 1
    assert message in done.err


@pytest.mark.skipif(Features().has("fexit"), reason="this kernel has trampolines")
def test_security_hooks_without_trampolines() -> None:
    done = stap("-p2", "-e", 'probe kernel.lsm("file_open") { exit() }')
    assert done.status == 1
    assert "this kernel has no trampolines to put programs on security hooks" in done.err


def test_security_hooks_that_ask_no_programs(tmp_path: Path) -> None:
    """The kernel's list is what the session sees in a namespace of its own."""
    listed = tmp_path / "lsm"
    listed.write_text("lockdown,capability,yama")
    script = f"""
import sys
from pystap.kernel import security
security._FILE = "{listed}"
from pystap.cli.main import main
sys.exit(main(["-p2", "-e", 'probe kernel.lsm("file_open") {{ exit() }}']))
"""
    done = subprocess.run(
        [ROOT / ".venv" / "bin" / "python", "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "security hooks do not ask BPF programs" in done.stderr
    assert "boot the kernel with lsm=lockdown,yama,bpf" in done.stderr
