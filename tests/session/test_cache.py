"""The cache of translations: when an entry serves, and when it must not."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from stap import STAP, Done


@pytest.fixture(autouse=True)
def own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SYSTEMTAP_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "cache" / "pystap"


def run(*words: str | Path) -> Done:
    done = subprocess.run([STAP, "-v", *map(str, words)], capture_output=True)
    return Done(done.stdout, done.stderr, done.returncode)


def cached(done: Done) -> bool:
    assert done.status == 0, done.err
    return "Pass 4: using cached BPF programs." in done.err


HELLO = 'probe begin { println("hello") exit() }'


def test_second_run_is_served() -> None:
    assert not cached(run("-e", HELLO))
    done = run("-e", HELLO)
    assert cached(done)
    assert done.out == "hello\n"


def test_other_script_arguments_and_options_are_not() -> None:
    assert not cached(run("-e", "probe begin { println($1) exit() }", "1"))
    assert not cached(run("-e", "probe begin { println($1) exit() }", "2"))
    assert not cached(run("-DMAXACTION=5", "-e", HELLO))
    assert not cached(run("-e", HELLO))


def test_disable_and_poison() -> None:
    assert not cached(run("--disable-cache", "-e", HELLO))
    assert not cached(run("-e", HELLO))
    assert not cached(run("--poison-cache", "-e", HELLO))
    assert cached(run("-e", HELLO))


def test_changed_tapset_file(tmp_path: Path) -> None:
    library = tmp_path / "library"
    library.mkdir()
    (library / "f.stp").write_text("function f() { return 1 }")
    script = "probe begin { println(f()) exit() }"
    assert run("-I", library, "-e", script).out == "1\n"
    assert cached(run("-I", library, "-e", script))
    (library / "f.stp").write_text("function f() { return 22 }")
    assert run("-I", library, "-e", script).out == "22\n"


def test_changed_program(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(Path("/usr/bin/true").read_bytes())
    script = f'probe process("{program}").begin {{ println(1) }} probe timer.ms(10) {{ exit() }}'
    run("-e", script)
    assert cached(run("-e", script))
    program.write_bytes(Path("/usr/bin/false").read_bytes())
    assert not cached(run("-e", script))


def test_warnings_are_repeated() -> None:
    script = 'global never_set probe begin { printf("%d\\n", never_set) exit() }'
    first, second = run("-e", script), run("-e", script)
    assert cached(second)
    warning = [line for line in first.err.splitlines() if line.startswith("WARNING")]
    assert warning == [line for line in second.err.splitlines() if line.startswith("WARNING")]
    assert len(warning) == 1


def test_damaged_and_foreign_entries_are_made_again(own_directory: Path) -> None:
    run("-e", HELLO)
    entries = [p for p in own_directory.iterdir() if len(p.name) == 40]
    assert len(entries) == 1
    whole = entries[0].read_bytes()
    entries[0].write_bytes(whole[: len(whole) // 2])
    assert not cached(run("-e", HELLO))
    entries[0].chmod(0o666)
    assert not cached(run("-e", HELLO))
    assert cached(run("-e", HELLO))
    os.chown(entries[0], 65534, -1)
    assert not cached(run("-e", HELLO))


def test_directory_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYSTEMTAP_DIR", "/proc/none")
    done = run("-e", HELLO)
    assert (done.out, done.status) == ("hello\n", 0)


def test_clean_cache(own_directory: Path) -> None:
    run("-e", HELLO)
    assert list(own_directory.iterdir())
    subprocess.run([STAP, "--clean-cache"], check=True)
    assert list(own_directory.iterdir()) == []
