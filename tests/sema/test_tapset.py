"""The tapset index: what is found where, and when it is made anew."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pystap.diag.diagnostic import Diagnostics
from pystap.lang.environment import Environment
from pystap.sema.definitions import scan_definitions, tree_definitions
from pystap.sema.tapset import Tapset, is_script
from pystap.sema.tapset_index import search_directories

SCANNED = """
# function commented () {}  global commented
/* probe commented = begin {} */ // function commented() {}
global a, b = 3 /* x, y */, c[100] , d% , e%[4] , f = "x" "y" // foo
global g = -1
private global p, q
private r
function first:long(a) { probe = 1; global = 2; function = "function no() {}" }
private function hidden() { return "probe no = begin {" }
%( systemtap_v > "1" %? function yes() { return @hist_log(x) } %:
   function other() %{ } function no() { %} %)
@define M(a,b) %( function inner() { @a %( 1 == 1 %? x %) } %)
probe foo.bar = foo.baz("a = b") = kernel.function("x") ? , q.{a,b} { x = 1 }
probe one(3) += begin if (a == 1) {}
probe begin { global_x = 1 }
function last() {}
"""


def test_scan() -> None:
    found = scan_definitions(SCANNED)
    assert found.functions == ["first", "yes", "other", "last"]
    assert found.globals == ["a", "b", "c", "d", "e", "f", "g"]
    assert found.aliases == [
        (("foo", None), ("bar", None)),
        (("foo", None), ("baz", "a = b")),
        (("one", 3),),
    ]
    assert found.macros == ["M"]
    assert not found.opaque


@pytest.mark.parametrize("text", ["@MAKE(x)\n", "function a() {} @MAKE\n"])
def test_macros_at_top_level_make_a_file_opaque(text: str) -> None:
    assert scan_definitions(text).opaque


def test_unbalanced_text_is_scanned_to_its_end() -> None:
    assert scan_definitions('function f() { "').functions == ["f"]
    assert scan_definitions("@define x %( %( function f() {}").functions == []
    assert scan_definitions("probe = global ,").aliases == []


def environment(release: str = "6.1.0-17-amd64") -> Environment:
    return Environment(kernel_release=release)


def library(own: Path, **options: object) -> Tapset:
    return Tapset(environment(), Diagnostics(), own=str(own), **options)  # type: ignore[arg-type]


def names(tapset: Tapset, name: str) -> list[str]:
    return [tapset.index.files[number][0] for number in tapset.function_files(name)]


def test_own_library_is_searched_below_folders(tmp_path: Path) -> None:
    (tmp_path / "sub" / "deep").mkdir(parents=True)
    (tmp_path / "top.stp").write_text("function top() {}")
    (tmp_path / "sub" / "deep" / "low.stp").write_text("function low() {}")
    (tmp_path / "sub" / "not.txt").write_text("function not() {}")
    tapset = library(tmp_path)
    assert names(tapset, "top") == [str(tmp_path / "top.stp")]
    assert names(tapset, "low") == [str(tmp_path / "sub" / "deep" / "low.stp")]
    assert names(tapset, "not") == []


def test_search_directories_most_specific_first() -> None:
    found = search_directories("6.1.0-17-amd64", "x86_64")
    assert found[:5] == [
        "6.1.0-17-amd64/linux/x86_64",
        "6.1.0-17-amd64/linux/",
        "6.1.0-17-amd64/x86_64",
        "6.1.0-17-amd64/",
        "6.1.0/linux/x86_64",
    ]
    assert found[-3:] == ["linux/", "x86_64", ""]
    assert "6.1/x86_64" in found


def test_extra_directories(tmp_path: Path) -> None:
    own, extra = tmp_path / "own", tmp_path / "extra"
    for folder in (own, extra, extra / "6.1", extra / "6.2", extra / "linux" / "x86_64"):
        folder.mkdir(parents=True, exist_ok=True)
    (extra / "a.stp").write_text("function a_plain() {}")
    (extra / "6.1" / "a.stp").write_text("function a_61() {}")
    (extra / "6.2" / "b.stp").write_text("function b_62() {}")
    (extra / "linux" / "x86_64" / "c.stp").write_text("function c_arch() {}")
    tapset = library(own, extra=[str(extra)])
    assert names(tapset, "a_61")
    assert not names(tapset, "a_plain"), "hidden by the file for this version"
    assert not names(tapset, "b_62"), "of another version"
    assert names(tapset, "c_arch")


def test_the_same_file_counts_once(tmp_path: Path) -> None:
    own, extra = tmp_path / "own", tmp_path / "extra"
    own.mkdir()
    extra.mkdir()
    (extra / "a.stp").write_text("function a() {}")
    (extra / "link.stp").symlink_to(extra / "a.stp")
    assert len(names(library(own, extra=[str(extra), str(extra)]), "a")) == 1


def test_index_is_kept_and_noticed_to_be_stale(tmp_path: Path) -> None:
    own, cache = tmp_path / "own", tmp_path / "cache"
    own.mkdir()
    file = own / "a.stp"
    file.write_text("function one() {}")
    assert names(library(own, cache_dir=str(cache)), "one")
    [kept] = cache.iterdir()
    before = kept.stat().st_mtime_ns
    assert names(library(own, cache_dir=str(cache)), "one")
    assert kept.stat().st_mtime_ns == before, "not written again"
    file.write_text("function two() {}")
    os.utime(file, ns=(1, 1))
    assert names(library(own, cache_dir=str(cache)), "two")
    (own / "b.stp").write_text("function three() {}")
    assert names(library(own, cache_dir=str(cache)), "three")
    file.unlink()
    assert not names(library(own, cache_dir=str(cache)), "two")


@pytest.mark.parametrize("damage", [b"", b"\x00", b"not an index", b"(\x01\x00\x00\x00"])
def test_a_damaged_index_is_made_anew(tmp_path: Path, damage: bytes) -> None:
    own, cache = tmp_path / "own", tmp_path / "cache"
    own.mkdir()
    (own / "a.stp").write_text("function one() {}")
    library(own, cache_dir=str(cache))
    [kept] = cache.iterdir()
    kept.write_bytes(damage)
    assert names(library(own, cache_dir=str(cache)), "one")


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "a.stp").write_text("function one() {}")
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert names(library(own, cache_dir=str(blocked / "cache")), "one")


def test_files_are_parsed_when_needed_and_once(tmp_path: Path) -> None:
    (tmp_path / "a.stp").write_text("function one() {}")
    (tmp_path / "b.stp").write_text("function two() {}")
    tapset = library(tmp_path)
    assert tapset.used_files == []
    [number] = tapset.function_files("one")
    assert tapset.load(number) is tapset.load(number)
    assert tapset.used_files == [str(tmp_path / "a.stp")]


def test_scan_agrees_with_parsing_for_the_real_library() -> None:
    """In files without preprocessor conditionals both must find the same."""
    diags = Diagnostics()
    tapset = Tapset(environment(), diags)
    compared = 0
    for number, (path, _, _) in enumerate(tapset.index.files):
        text = Path(path).read_text(encoding="latin-1")
        if is_script(path) and "%(" not in text:
            scanned = scan_definitions(text)
            parsed = tree_definitions(tapset.load(number))
            assert scanned._replace(macros=[]) == parsed, path
            compared += 1
    assert compared > 0
    assert not diags.items
