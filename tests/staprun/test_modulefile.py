"""What a module's file says of itself, and its name changed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from pystap.staprun.loading import LoadError, check_release, unique_name
from pystap.staprun.modulefile import ModuleFile, ModuleFileError, find_module

_SOURCE = """
__attribute__((section(".modinfo"), used)) static const char info[] =
  "license=GPL\\0" %s "name=%s\\0vermagic=9.9.9-some SMP mod_unload \\0"
  "parmtype=stap_megabytes:uint\\0parmtype=x:long\\0parmtype=s:string";
__attribute__((section(".gnu.linkonce.this_module"), used))
static struct { int state; void *list[2]; char name[56]; char rest[64]; } module =
  { 0, { 0 }, "%s", "behind" };
"""
_OURS = '"pystap=1\\0"'


def made(path: Path, name: str = "stap_some", mark: str = _OURS) -> Path:
    """A file that looks like a module."""
    source = path.with_suffix(".c")
    source.write_text(_SOURCE % (mark, name, name))
    subprocess.run(["gcc", "-c", str(source), "-o", str(path)], check=True)
    return path


def test_what_it_says(tmp_path: Path) -> None:
    module = ModuleFile(str(made(tmp_path / "m.ko")))
    assert (module.name, module.release, module.is_signed) == ("stap_some", "9.9.9-some", False)
    module.check_settings(["x=1", "s=2", "stap_megabytes=3"])
    with pytest.raises(ModuleFileError, match=r"no global variable 'y'; .*: s, x$"):
        module.check_settings(["x=1", "y=1"])
    with pytest.raises(LoadError) as error:
        check_release(module)
    here = os.uname().release
    assert str(error.value) == (
        f"'{tmp_path}/m.ko' was built for kernel 9.9.9-some, this is {here}; "
        f"build it with stap -r {here} -p4 -m stap_some"
    )
    signed = tmp_path / "signed.ko"
    signed.write_bytes((tmp_path / "m.ko").read_bytes() + b"~Module signature appended~\n")
    assert ModuleFile(str(signed)).is_signed


@pytest.mark.parametrize("name", ["stap_x", "stap_much_longer_than_it_was_before", "s" * 55])
def test_another_name(tmp_path: Path, name: str) -> None:
    path = made(tmp_path / "m.ko")
    before = path.read_bytes()
    after = ModuleFile(str(path)).renamed(name)
    assert len(before) == len(after)
    changed = [i for i, (old, new) in enumerate(zip(before, after)) if old != new]
    assert changed[-1] - changed[0] < 56
    assert name.encode() + b"\0" in after
    assert b"behind" in after


def test_names_that_are_too_long(tmp_path: Path) -> None:
    module = ModuleFile(str(made(tmp_path / "m.ko")))
    with pytest.raises(ModuleFileError, match="is longer than 55"):
        module.renamed("s" * 56)
    unique = unique_name("s" * 55)
    assert len(unique) == 55
    assert unique.endswith(f"_{os.getpid()}")
    assert unique_name("stap_a") == f"stap_a_{os.getpid()}"


def test_what_is_no_module_of_ours(tmp_path: Path) -> None:
    with pytest.raises(ModuleFileError, match="was not made by stap"):
        ModuleFile(str(made(tmp_path / "m.ko", mark="")))
    with pytest.raises(ModuleFileError, match="No such file or directory"):
        ModuleFile(str(tmp_path / "none.ko"))
    with pytest.raises(ModuleFileError, match="Is a directory"):
        ModuleFile(str(tmp_path))
    with pytest.raises(ModuleFileError, match="is no kernel module"):
        ModuleFile("/bin/true")
    whole = made(tmp_path / "m.ko").read_bytes()
    for size in (0, 3, 20, 64, len(whole) // 2, len(whole) - 10):
        cut = tmp_path / "cut.ko"
        cut.write_bytes(whole[:size])
        with pytest.raises(ModuleFileError, match="is no kernel module"):
            ModuleFile(str(cut))


def test_files_and_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = made(tmp_path / "m.ko")
    assert find_module(str(path)) == str(path)
    monkeypatch.chdir(tmp_path)
    assert find_module("m.ko") == "m.ko"
    with pytest.raises(
        ModuleFileError, match="there is no module 'other', neither here nor in /lib"
    ):
        find_module("other")
