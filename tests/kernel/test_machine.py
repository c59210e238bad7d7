"""CPUs, tick rate, configuration, privilege and processes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pystap.kernel import cpu, privilege, procs


@pytest.mark.parametrize(
    ("text", "cpus"),
    [("0\n", (0,)), ("0-3\n", (0, 1, 2, 3)), ("0,2-3,7\n", (0, 2, 3, 7)), ("\n", ())],
)
def test_cpu_lists(text: str, cpus: tuple[int, ...]) -> None:
    assert cpu.parse_cpu_list(text) == cpus


def test_cpus_of_this_machine() -> None:
    assert set(cpu.online_cpus()) <= set(cpu.possible_cpus())
    assert len(cpu.online_cpus()) == os.cpu_count()


def test_tick_rate_is_that_of_the_configuration() -> None:
    config = cpu.kernel_config()
    assert config is not None
    assert cpu.tick_rate() == int(config.get("CONFIG_HZ") or 0)


def test_tick_rate_is_how_fast_the_coarse_clock_moves() -> None:
    """Independent of any file: its smallest step is a tick (steps are missed under load)."""
    tick = 1e9 / cpu.tick_rate()
    smallest, last = 1e9, time.clock_gettime_ns(6)
    end = time.monotonic() + 5
    while smallest > tick * 1.02 and time.monotonic() < end:
        now = time.clock_gettime_ns(6)
        if now != last:
            smallest, last = min(smallest, now - last), now
    assert smallest == pytest.approx(tick, rel=0.02)


def test_identity_of_boot_and_build() -> None:
    assert len(cpu.boot_id()) == 36
    assert os.uname().release in cpu.kernel_key()
    build = cpu.kernel_build_id()
    assert build is None or bytes.fromhex(build)
    assert cpu.module_build_id("no_such_module") is None


NOTE = b"\4\0\0\0" + b"\3\0\0\0" + b"\3\0\0\0" + b"GNU\0" + b"\xab\xcd\xef\0"
OTHER = b"\5\0\0\0" + b"\5\0\0\0" + b"\1\0\0\0" + b"Xens\0\0\0\0" + b"12345\0\0\0"


@pytest.mark.parametrize(
    ("notes", "build"),
    [(NOTE, "abcdef"), (OTHER + NOTE, "abcdef"), (OTHER, None), (b"", None), (NOTE[:11], None)],
)
def test_build_id_among_notes(notes: bytes, build: str | None) -> None:
    assert cpu.build_id_note(notes) == build


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("CONFIG_BPF", "y"),
        ("CONFIG_EXT4_FS", "m"),
        ("CONFIG_HZ", "250"),
        ("CONFIG_TEXT", 'say "hi" \\ there'),
        ("CONFIG_EMPTY", ""),
        ("CONFIG_OFF", None),
        ("CONFIG_B", None),
        ("CONFIG_LAST", "0x10"),
    ],
)
def test_configuration_values(option: str, value: str | None) -> None:
    text = (
        b'CONFIG_BPF=y\nCONFIG_EXT4_FS=m\nCONFIG_HZ=250\nCONFIG_TEXT="say \\"hi\\" \\\\ there"\n'
        b'CONFIG_EMPTY=""\n# CONFIG_OFF is not set\nCONFIG_LAST=0x10'
    )
    assert cpu.KernelConfig("x", text).get(option) == value


def test_configuration_of_an_unknown_kernel() -> None:
    assert cpu.kernel_config("0.0.0-nothing") is None


# ---------------------------------------------------------------- privilege


def test_root_may_trace() -> None:
    found = privilege.read_privilege()
    assert found.missing_for_tracing() == []
    assert found.has(privilege.CAP_SYS_ADMIN)
    assert not found.own_user_namespace


@pytest.mark.parametrize(
    ("mask", "missing"),
    [
        (0, [privilege.CAP_BPF, privilege.CAP_PERFMON]),
        (1 << 39, [privilege.CAP_PERFMON]),
        (1 << 39 | 1 << 38, []),
        (1 << 21, []),
    ],
)
def test_what_is_missing(mask: int, missing: list[int]) -> None:
    found = privilege.Privilege()
    found.capabilities = privilege.capability_set(mask)
    assert found.missing_for_tracing() == missing
    found.own_user_namespace = True
    assert found.missing_for_tracing() == [privilege.CAP_BPF, privilege.CAP_PERFMON]


def test_capabilities_in_a_user_namespace_do_not_count() -> None:
    code = (
        "from pystap.kernel.privilege import read_privilege\n"
        "p = read_privilege()\n"
        "print(21 in p.capabilities, p.own_user_namespace, len(p.missing_for_tracing()))"
    )
    result = subprocess.run(
        ["unshare", "-Ur", sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout == "True True 2\n"


@pytest.mark.parametrize(
    ("text", "level"),
    [("none [integrity] confidentiality\n", "integrity"), ("[none] integrity\n", "none")],
)
def test_lockdown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, level: str) -> None:
    (tmp_path / "lockdown").write_text(text)
    monkeypatch.setattr(privilege, "_LOCKDOWN", str(tmp_path / "lockdown"))
    assert privilege.read_privilege().lockdown == level
    monkeypatch.setattr(privilege, "_LOCKDOWN", str(tmp_path / "missing"))
    assert privilege.read_privilege().lockdown is None


# ---------------------------------------------------------------- processes


def test_this_process() -> None:
    pid = os.getpid()
    stat = procs.stat(pid)
    assert (stat.pid, stat.parent, stat.comm) == (pid, os.getppid(), procs.comm(pid))
    assert stat.session == os.getsid(0)
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    assert 0 < stat.start_time <= uptime * 100
    program = procs.executable(pid)
    assert program is not None
    assert program.path == os.path.realpath("/proc/self/exe")
    assert not program.deleted
    assert pid in procs.threads(pid)
    assert pid in dict(procs.executables())
    assert "python" in procs.command_line(pid)[0]


def test_memory_map() -> None:
    entries = procs.maps(os.getpid())
    assert [e.start for e in entries] == sorted(e.start for e in entries)
    code = [e for e in entries if e.executable and "libc.so" in e.path]
    assert code
    assert code[0].inode == os.stat(code[0].path).st_ino
    assert code[0].offset % 4096 == 0
    assert any(e.path == "[stack]" for e in entries)


@pytest.mark.parametrize("name", ["plain", "a b) R 1 (c", "x (deleted)", "new\nline", "caf\u00e9"])
def test_awkward_names_and_deleted_programs(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    shutil.copy("/bin/sleep", path)
    child = subprocess.Popen([str(path), "60"])
    try:
        while procs.stat(child.pid).state != "S":  # exec is over and it sleeps
            time.sleep(0.001)
        program = procs.executable(child.pid)
        assert program is not None
        assert program.path == str(path)
        assert not program.deleted
        assert procs.stat(child.pid).comm == os.fsencode(name)[:15].decode("latin-1")
        assert procs.stat(child.pid).parent == os.getpid()
        assert str(path) in {e.path for e in procs.maps(child.pid)}
        os.unlink(path)
        program = procs.executable(child.pid)
        assert program is not None
        assert (program.path, program.deleted) == (str(path), True)
        with open(program.link, "rb") as file:
            assert file.read(4) == b"\x7fELF"
        gone = {e.path for e in procs.maps(child.pid) if e.deleted}
        assert str(path) in gone
    finally:
        child.terminate()
        child.wait()


def test_vanished_processes() -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    for read in (procs.stat, procs.comm, procs.executable, procs.maps, procs.threads):
        with pytest.raises(ProcessLookupError, match=f"no process {child.pid}"):
            read(child.pid)  # type: ignore[operator]


def test_kernel_threads_have_no_program() -> None:
    assert procs.comm(2) == "kthreadd"
    assert procs.executable(2) is None
    assert procs.command_line(2) == []
    assert 2 not in dict(procs.executables())
