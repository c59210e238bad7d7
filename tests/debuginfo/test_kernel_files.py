"""Where debug information of the kernel and its modules is found, and the indexes kept of it."""

from __future__ import annotations

import shutil
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

from probes.madeup import VMLINUX, MadeUp, line
from pystap.debuginfo.debugfiles import DebugFiles, MissingDebugInfo
from pystap.debuginfo.dwarf import Dwarf
from pystap.debuginfo.dwarfplaces import Pattern, functions, parse_pattern, statements
from pystap.debuginfo.elf import Elf
from pystap.debuginfo.functionindex import FunctionIndex, load, pack
from pystap.debuginfo.kernelfiles import KernelFiles, release_of
from pystap.debuginfo.modulefile import module_name
from pystap.debuginfo.relocated import section_at
from pystap.session.cache import stamp

RELEASE = "9.9.9-made-up"


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> MadeUp:
    return MadeUp(tmp_path_factory.mktemp("made") / "up")


@pytest.fixture(autouse=True)
def _own_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DEBUGINFOD_URLS", raising=False)
    monkeypatch.delenv("SYSTEMTAP_DEBUGINFO_PATH", raising=False)


def build_id(path: Path) -> str:
    with Elf(str(path)) as elf:
        return elf.build_id() or ""


def files(root: Path, build: str = "") -> KernelFiles:
    return KernelFiles(DebugFiles(), RELEASE, build, str(root))


PLACES = (
    f"lib/modules/{RELEASE}/vmlinux",
    f"boot/vmlinux-{RELEASE}",
    f"usr/lib/debug/boot/vmlinux-{RELEASE}",
    f"usr/lib/debug/lib/modules/{RELEASE}/vmlinux",
    f"lib/modules/{RELEASE}/build/vmlinux",
)


@pytest.mark.parametrize("place", PLACES)
def test_kernel(place: str, kernel: MadeUp, tmp_path: Path) -> None:
    target = tmp_path / place
    target.parent.mkdir(parents=True)
    shutil.copy(kernel.vmlinux, target)
    image = files(tmp_path).kernel()
    assert image.info.dwarf.path == str(target)
    assert image.info.build_id == build_id(kernel.vmlinux)
    assert image.module == ""
    assert not image.running


@pytest.mark.parametrize("tree", ["debug", "system/usr/lib/debug"])
def test_kernel_of_headers_in_another_system(
    tree: str, kernel: MadeUp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trees are looked for here and there."""
    build = tmp_path / "system/usr/src/headers"
    build.mkdir(parents=True)
    (tmp_path / "system/lib/modules" / RELEASE).mkdir(parents=True)
    target = tmp_path / tree / f"boot/vmlinux-{RELEASE}"
    target.parent.mkdir(parents=True)
    shutil.copy(kernel.vmlinux, target)
    trees = f"{tmp_path}/debug:/usr/lib/debug"
    monkeypatch.setenv("SYSTEMTAP_DEBUGINFO_PATH", trees)
    found = KernelFiles(DebugFiles(), RELEASE, str(build), "").kernel()
    assert found.info.dwarf.path == str(target)


def test_no_kernel(tmp_path: Path) -> None:
    """What was looked for is told, in order; a file without debug information does not count."""
    (tmp_path / "boot").mkdir()
    plain = tmp_path / f"boot/vmlinux-{RELEASE}"
    shutil.copy("/bin/true", plain)
    with pytest.raises(MissingDebugInfo) as caught:
        files(tmp_path).kernel()
    looked = [path.removeprefix(f"{tmp_path}/") for path in caught.value.looked]
    last = f"usr/lib/debug/usr/lib/modules/{RELEASE}/vmlinux"
    assert looked == [PLACES[0], *PLACES[2:4], last, PLACES[4]]


def test_build_directory_comes_first(kernel: MadeUp, tmp_path: Path) -> None:
    other = tmp_path / PLACES[0]
    other.parent.mkdir(parents=True)
    shutil.copy(kernel.vmlinux, other)
    image = files(tmp_path, str(kernel.home)).kernel()
    assert image.info.dwarf.path == str(kernel.vmlinux)


def test_path_of_trees(kernel: MadeUp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = tmp_path / "tree"
    target = tree / f"boot/vmlinux-{RELEASE}"
    target.parent.mkdir(parents=True)
    shutil.copy(kernel.vmlinux, target)
    monkeypatch.setenv("SYSTEMTAP_DEBUGINFO_PATH", str(tree))
    image = KernelFiles(DebugFiles(), RELEASE, "", "").kernel()
    assert image.info.dwarf.path == str(target)


@pytest.mark.parametrize("suffix", ["", ".debug"])
@pytest.mark.parametrize("compressed", ["", ".xz"])
def test_module(suffix: str, compressed: str, kernel: MadeUp, tmp_path: Path) -> None:
    """By the list of modules; names with a dash are those with an underscore."""
    folder = tmp_path / f"lib/modules/{RELEASE}"
    below = "kernel/drivers/one-more.ko"
    (folder / below).parent.mkdir(parents=True)
    (folder / (below + compressed)).write_bytes(b"not looked into")
    (folder / "modules.dep").write_text(f"{below}{compressed}:\nkernel/fs/another.ko: {below}\n")
    target = tmp_path / f"usr/lib/debug/lib/modules/{RELEASE}/{below}{suffix}"
    target.parent.mkdir(parents=True)
    shutil.copy(kernel.module, target)
    image = files(tmp_path).module("one_more")
    assert image.info.dwarf.path == str(target)
    assert image.module == "one_more"
    assert list(files(tmp_path).modules()) == ["one_more", "another"]
    with pytest.raises(MissingDebugInfo):
        files(tmp_path).module("another")


def test_module_by_build_id(kernel: MadeUp, tmp_path: Path) -> None:
    """A stripped one beside, its debug information below a tree."""
    folder = tmp_path / f"lib/modules/{RELEASE}"
    (folder / "extra").mkdir(parents=True)
    (folder / "modules.dep").write_text("extra/extra.ko:\n")
    stripped = folder / "extra/extra.ko"
    shutil.copy(kernel.module, stripped)
    subprocess.run(["strip", "--strip-debug", stripped], check=True)
    identity = build_id(stripped)
    target = tmp_path / f"usr/lib/debug/.build-id/{identity[:2]}/{identity[2:]}.debug"
    target.parent.mkdir(parents=True)
    shutil.copy(kernel.module, target)
    assert files(tmp_path).module("extra").info.dwarf.path == str(target)


def test_module_by_path(kernel: MadeUp, tmp_path: Path) -> None:
    """Its name means that file from then on."""
    found = files(tmp_path)
    image = found.module(str(kernel.module))
    assert image.module == "extra"
    assert found.module("extra") is image


def test_names_and_releases(kernel: MadeUp, tmp_path: Path) -> None:
    assert module_name("/lib/x/snd-hda.ko.zst") == "snd_hda"
    assert module_name("plain") == "plain"
    assert release_of("6.1") == ("6.1", "")
    assert release_of(str(kernel.home))[1] == str(kernel.home)
    assert release_of(f"{tmp_path}/") == ("", f"{tmp_path}/")


# --- relocatable files --------------------------------------------------------------------------


def test_sections_of_a_module_are_laid_out(kernel: MadeUp) -> None:
    info = DebugFiles().of(str(kernel.module))
    laid = info.dwarf.relocated
    assert laid is not None
    spans = sorted((s.address, s.address + s.size) for s in laid.sections if s.size)
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))
    [opened] = functions(info, pattern("extra_open"))
    [begin] = functions(info, pattern("extra_begin"))
    for place, name in ((opened, ".text"), (begin, ".init.text")):
        section = section_at(laid.sections, place.pc)
        assert section is not None
        assert section.name == name
    assert section_at(laid.sections, 1) is None
    assert laid.contents(".debug_info") != b""
    assert laid.contents(".nothing") == b""
    info.dwarf.close()
    info.dwarf.close()


# --- indexes ------------------------------------------------------------------------------------


def test_function_index(tmp_path: Path) -> None:
    names = {b"beta": [30, 10], b"alpha": [1 << 40], b"alphabet": [7], b"": [3]}
    packed = pack(names, (1, 2, 3))
    path = tmp_path / "index"
    path.write_bytes(packed)
    for index in (FunctionIndex(packed), load(str(path), (1, 2, 3))):
        assert index is not None
        assert index.names() == ["", "alpha", "alphabet", "beta"]
        assert {n: index.find(n) for n in ("alpha", "beta", "alphabet", "", "bet", "z")} == {
            "alpha": [1 << 40], "beta": [30, 10], "alphabet": [7], "": [3], "bet": [], "z": [],
        }  # fmt: skip
    assert load(str(path), (1, 2, 4)) is None
    assert load(str(tmp_path / "none"), (1, 2, 3)) is None
    path.write_bytes(packed[:60])
    assert load(str(path), (1, 2, 3)) is None
    path.write_bytes(b"rubbish")
    assert load(str(path), (1, 2, 3)) is None


def test_what_was_found_is_kept(
    kernel: MadeUp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second session goes through no units to find names or files."""
    number = line(VMLINUX, "sink")

    def answers() -> list[list[tuple[str, int]]]:
        opened = DebugFiles(str(tmp_path))
        info = opened.of(str(kernel.vmlinux))
        found = []
        for text in ("*@work.c", "t*", "work@work.c"):
            found.append([(p.name, p.pc) for p in functions(info, pattern(text))])
        places = statements(info, pattern(f"*@work.c:{number}"), False)
        found.append([(p.name, p.pc) for p in places])
        opened.save()
        return found

    first = answers()
    assert all(first)
    assert {p.suffix for p in tmp_path.iterdir()} == {".names", ".functions"}
    monkeypatch.setattr(Dwarf, "units", lambda _: pytest.fail("units are gone through"))
    assert answers() == first


def pattern(text: str) -> Pattern:
    found = parse_pattern(text)
    assert found is not None
    return found


def test_stamps_of_what_the_kernel_says() -> None:
    """Files that it makes have no useful times: their content counts."""
    boot = "/proc/sys/kernel/random/boot_id"
    assert stamp(boot) == stamp(boot)
    assert stamp(boot)[0] == int.from_bytes(Path(boot).read_bytes(), "little")
    assert stamp("/sys/module/nix/sections/.data") == (0, 0, 0, 0)
