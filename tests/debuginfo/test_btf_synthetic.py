"""The reader on BTF made by the writer: every kind, modules, damage."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from pystap.debuginfo import btftypes as t
from pystap.debuginfo.btf import (
    KIND_ENUM,
    KIND_ENUM64,
    KIND_FUNC,
    KIND_INT,
    KIND_STRUCT,
    KIND_TYPEDEF,
    KIND_UNION,
    Btf,
    BtfError,
    BtfMissing,
)
from pystap.kernel import btfwriter as w
from pystap.kernel import programs

Opener = Callable[[w.BtfWriter], Btf]


@pytest.fixture
def opened(tmp_path: Path) -> Opener:
    def open_blob(writer: w.BtfWriter) -> Btf:
        path = tmp_path / "vmlinux"
        path.write_bytes(writer.blob())
        return Btf.open(None, str(path))

    return open_blob


def test_every_kind_is_read_back(opened: Opener) -> None:
    b = w.BtfWriter()
    integer = b.integer("int", 4, w.INT_SIGNED)
    pointer = b.pointer(integer)
    array = b.array(integer, integer, 7)
    color = b.enum("color", 4, [("RED", 0), ("BLUE", -2)], signed=True)
    wide = b.enum("wide", 8, [("BIG", 1 << 40), ("ALL", (1 << 64) - 1)])
    proto = b.prototype(integer, [("a", pointer), ("", 0)])
    function = b.function("f", proto, w.LINKAGE_GLOBAL)
    variable = b.variable("v", integer, w.LINKAGE_GLOBAL)
    section = b.datasec(".data", 4, [(variable, 0, 4)])
    union = b.composite(w.KIND_UNION, "u", 4, [("x", integer, 0, 0), ("y", integer, 0, 3)])
    others = [
        (b.forward("later"), t.Fwd("later", False)),
        (b.forward("latter", union=True), t.Fwd("latter", True)),
        (b.typedef("int_t", integer), t.Typedef(integer, "int_t")),
        (b.qualifier(w.KIND_CONST, integer), t.Const(integer)),
        (b.qualifier(w.KIND_VOLATILE, 0), t.Volatile(0)),
        (b.qualifier(w.KIND_RESTRICT, pointer), t.Restrict(pointer)),
        (b.floating("double", 8), t.Float("double", 8)),
        (b.type_tag("user", integer), t.TypeTag(integer, "user")),
        (b.declaration_tag("kfunc", function), t.DeclTag("kfunc", function, -1)),
        (b.declaration_tag("arg", function, 1), t.DeclTag("arg", function, 1)),
        (b.integer("_Bool", 1, w.INT_BOOL), t.Int("_Bool", 1, 4, 8)),
    ]
    btf = opened(b)
    assert btf.type(integer) == t.Int("int", 4, 1, 32)
    assert btf.type(pointer) == t.Ptr(integer)
    assert btf.type(array) == t.Array(integer, integer, 7)
    assert btf.type(color) == t.Enum("color", 4, True, [("RED", 0), ("BLUE", -2)])
    assert btf.type(wide) == t.Enum("wide", 8, False, [("BIG", 1 << 40), ("ALL", 2**64 - 1)])
    assert btf.type(proto) == t.FuncProto(integer, [t.Param("a", pointer)], True)
    assert btf.type(function) == t.Func("f", proto, 1)
    assert btf.type(variable) == t.Var("v", integer, 1)
    assert btf.type(section) == t.Datasec(".data", 4, [(variable, 0, 4)])
    members = [t.Member("x", integer, 0, 0), t.Member("y", integer, 0, 3)]
    assert btf.type(union) == t.Struct("u", 4, True, members)
    for type_id, view in others:
        assert btf.type(type_id) == view
    assert btf.enum_value("BLUE") == -2
    assert btf.enum_value("BIG") == 1 << 40
    assert btf.find("wide", KIND_ENUM64) == wide
    assert btf.find("wide", KIND_ENUM) is None
    assert [btf.sizeof(i) for i in (array, pointer, variable, section, wide)] == [28, 8, 4, 4, 8]


def test_members_through_anonymous_and_named_types(opened: Opener) -> None:
    b = w.BtfWriter()
    integer = b.integer("int", 4, w.INT_SIGNED)
    inner = b.composite(w.KIND_UNION, "", 4, [("p", integer, 0, 0), ("q", integer, 3, 5)])
    middle = b.typedef("hidden", b.qualifier(w.KIND_CONST, inner))
    outer = b.struct("s", 12, [("a", integer, 0), ("", middle, 8)])
    alias = b.typedef("s_t", outer)
    btf = opened(b)
    assert btf.member(outer, "a") == (integer, 0, 0)
    assert btf.member(outer, "p") == (integer, 64, 0)
    assert btf.member(alias, "q") == (integer, 67, 5)
    assert btf.member(outer, "r") is None
    assert btf.member(integer, "a") is None
    assert [m.name for m in btf.members(alias)] == ["a", "p", "q"]


@pytest.mark.parametrize(
    ("build", "spelled"),
    [
        (lambda b, i, c: c, "char const"),
        (lambda b, i, c: b.pointer(c), "char const *"),
        (lambda b, i, c: b.qualifier(w.KIND_CONST, b.pointer(c)), "char const *const"),
        (lambda b, i, c: b.pointer(b.pointer(0)), "void **"),
        (lambda b, i, c: b.array(b.array(i, i, 3), i, 2), "int[2][3]"),
        (lambda b, i, c: b.pointer(b.array(i, i, 3)), "int (*)[3]"),
        (lambda b, i, c: b.array(b.pointer(i), i, 3), "int *[3]"),
        (lambda b, i, c: b.pointer(b.prototype(0)), "void (*)(void)"),
        (lambda b, i, c: b.pointer(b.prototype(i, [("a", i), ("", 0)])), "int (*)(int a, ...)"),
        (
            lambda b, i, c: b.pointer(b.prototype(b.pointer(b.prototype(i, [("", c)])))),
            "int (*(*)(void))(char const)",
        ),
        (lambda b, i, c: b.pointer(b.struct("", 0, [])), "struct {...} *"),
        (lambda b, i, c: b.forward("f", union=True), "union f"),
        (lambda b, i, c: b.pointer(b.type_tag("user", c)), "char const *"),
        (lambda b, i, c: b.function("g", b.prototype(i, [("x", c)])), "int g(char const x)"),
        (lambda b, i, c: b.qualifier(w.KIND_VOLATILE, b.enum("e", 4, [])), "enum e volatile"),
    ],
)
def test_c_spelling(
    opened: Opener, build: Callable[[w.BtfWriter, int, int], int], spelled: str
) -> None:
    b = w.BtfWriter()
    integer = b.integer("int", 4, w.INT_SIGNED)
    const = b.qualifier(w.KIND_CONST, b.integer("char", 1, w.INT_CHAR))
    type_id = build(b, integer, const)
    assert opened(b).c_name(type_id) == spelled


def test_cycles_in_damaged_btf_end(opened: Opener) -> None:
    b = w.BtfWriter()
    loop = b.typedef("a", 2)
    b.qualifier(w.KIND_CONST, loop)
    pointers = b.pointer(3)
    endless = b.prototype(0, [("", 5), ("", 5), ("", 5)])
    b.pointer(endless)
    array = b.array(6, 6, 2)
    btf = opened(b)
    with pytest.raises(BtfError, match="refers to itself"):
        btf.resolve(loop)
    with pytest.raises(BtfError, match="refers to itself"):
        btf.sizeof(array)
    assert "..." in btf.c_name(pointers)
    assert len(btf.c_name(endless)) < 10_000


def add_tracepoint(
    b: w.BtfWriter, name: str, params: list[tuple[str, int]], named_by: str = "__traceiter_"
) -> int:
    data = b.pointer(0)
    unnamed = b.prototype(0, [("", data), *(("", kind) for _, kind in params)])
    if named_by:
        b.function(named_by + name, b.prototype(0, [("__data", data), *params]))
    return b.typedef("btf_trace_" + name, b.pointer(unnamed))


def test_tracepoints(opened: Opener) -> None:
    b = w.BtfWriter()
    integer = b.integer("int", 4, w.INT_SIGNED)
    pointer = b.pointer(integer)
    second = add_tracepoint(b, "wake", [("p__nullable", pointer), ("n", integer)])
    first = add_tracepoint(b, "exit", [])
    add_tracepoint(b, "stub", [("x", integer)], "__probestub_")
    add_tracepoint(b, "bare", [("x", integer), ("y", integer)], "")
    b.struct("btf_trace_fake", 0, [])
    btf = opened(b)
    found = {tracepoint.name: tracepoint for tracepoint in btf.tracepoints()}
    assert list(found) == ["bare", "exit", "stub", "wake"]
    assert found["wake"].typedef_id == second
    assert found["wake"].params() == [t.Param("p", pointer, True), t.Param("n", integer)]
    assert found["exit"].typedef_id == first
    assert found["exit"].params() == []
    assert found["stub"].params() == [t.Param("x", integer)]
    assert [p.name for p in found["bare"].params()] == ["arg1", "arg2"]


def test_module_on_top_of_the_kernel(tmp_path: Path) -> None:
    b = w.BtfWriter()
    integer = b.integer("int", 4, w.INT_SIGNED)
    shared = b.struct("shared", 4, [("value", integer, 0)])
    b.enum("", 4, [("IN_KERNEL", 3)])
    add_tracepoint(b, "base", [("x", integer)])
    (tmp_path / "vmlinux").write_bytes(b.blob())
    kernel = Btf.open(tmp_path / "cache", str(tmp_path / "vmlinux"))
    m = w.BtfWriter(kernel.end_id, kernel.string_size)
    own = m.struct("own", 4, [("inner", shared, 0)])
    m.enum("", 4, [("IN_MODULE", 4)])
    add_tracepoint(m, "extra", [("y", m.pointer(own))])
    (tmp_path / "mod").write_bytes(m.blob())
    for _ in range(2):  # built, then from the index on disk
        kernel = Btf.open(tmp_path / "cache", str(tmp_path / "vmlinux"))
        module = Btf(str(tmp_path / "mod"), "mod", kernel, tmp_path / "cache")
        assert module.find("own", KIND_STRUCT) == own == kernel.end_id
        assert module.find("shared", KIND_STRUCT) == shared
        assert kernel.find("own", KIND_STRUCT) is None
        assert module.find_all("int", KIND_INT) == [integer]
        assert module.member(own, "inner") == (shared, 0, 0)
        assert module.member(shared, "value") == (integer, 0, 0)
        assert module.enum_value("IN_MODULE") == 4
        assert module.enum_value("IN_KERNEL") == 3
        assert kernel.enum_value("IN_MODULE") is None
        assert module.c_name(own) == "struct own"
        extra = module.tracepoint("extra")
        assert extra is not None
        assert extra.btf.name == "mod"
        assert [(p.name, module.c_name(p.type)) for p in extra.params()] == [("y", "struct own *")]
        assert module.end_id > kernel.end_id


def test_tracepoints_of_modules_are_found(tmp_path: Path) -> None:
    b = w.BtfWriter()
    add_tracepoint(b, "base", [("x", b.integer("int", 4))])
    where = tmp_path / "btf"
    where.mkdir()
    (where / "vmlinux").write_bytes(b.blob())
    kernel = Btf.open(None, str(where / "vmlinux"))
    m = w.BtfWriter(kernel.end_id, kernel.string_size)
    add_tracepoint(m, "extra", [("y", 1)])
    (where / "mod").write_bytes(m.blob())
    assert kernel.module_names() == ["mod"]
    assert [(p.name, p.btf.name) for p in kernel.tracepoints()] == [
        ("base", "vmlinux"),
        ("extra", "mod"),
    ]
    assert [p.name for p in kernel.tracepoints(modules=False)] == ["base"]
    found = kernel.tracepoint("extra")
    assert found is not None
    assert found.params() == [t.Param("y", 1)]
    assert kernel.tracepoint("neither") is None


def test_kernel_accepts_what_the_writer_makes() -> None:
    b = w.BtfWriter()
    integer = b.integer("int", 4, w.INT_SIGNED)
    pointer = b.pointer(integer)
    b.struct("s", 16, [("a", integer, 0), ("p", pointer, 8)])
    b.composite(w.KIND_STRUCT, "bits", 4, [("x", integer, 0, 3), ("y", integer, 3, 5)])
    b.enum("e", 4, [("A", 0), ("B", -1)], signed=True)
    b.enum("e64", 8, [("C", 1 << 60)])
    b.typedef("t", b.qualifier(w.KIND_CONST, pointer))
    b.function("f", b.prototype(integer, [("a", integer)]), w.LINKAGE_STATIC)
    b.datasec(".bss", 4, [(b.variable("v", integer), 0, 4)])
    b.floating("double", 8)
    programs.load_btf(b.blob()).close()


# ---------------------------------------------------------------- damage


def good() -> bytes:
    b = w.BtfWriter()
    b.struct("s", 4, [("a", b.integer("int", 4), 0)])
    return b.blob()


def swapped(blob: bytes) -> bytes:
    return blob[1::-1] + blob[2:]


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda d: b"", "only 0 bytes"),
        (lambda d: b"\x7fELF" + d[4:], "not BTF (wrong magic number)"),
        (swapped, "not of this machine's byte order (little-endian)"),
        (lambda d: d[:2] + b"\x09" + d[3:], "BTF version 9 is unknown"),
        (lambda d: d[:-4], "cut off"),
        (lambda d: d[:-1] + b"x", "its strings do not end"),
    ],
)
def test_damaged_files_are_named(
    tmp_path: Path, damage: Callable[[bytes], bytes], reason: str
) -> None:
    path = tmp_path / "vmlinux"
    path.write_bytes(damage(good()))
    with pytest.raises(BtfMissing) as caught:
        Btf.open(None, str(path))
    assert caught.value.reason == reason
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("word", "value", "reason"),
    [
        (1, 31 << 24, "unknown kind 31 of type"),
        (1, 4 << 24 | 9, "the last type is cut off"),
        (0, 12345, "a name lies outside the strings"),
    ],
)
def test_damaged_types_are_found_on_first_use(
    tmp_path: Path, word: int, value: int, reason: str
) -> None:
    blob = bytearray(good())
    struct.pack_into("=I", blob, 24 + 4 * word, value)
    path = tmp_path / "vmlinux"
    path.write_bytes(bytes(blob))
    btf = Btf.open(None, str(path))
    with pytest.raises(BtfMissing) as caught:
        btf.find("s", KIND_STRUCT)
    assert caught.value.reason == reason


def test_a_directory_is_no_btf(tmp_path: Path) -> None:
    with pytest.raises(BtfMissing, match="is a directory"):
        Btf.open(None, str(tmp_path))


@pytest.mark.parametrize("damage", [lambda d: b"", lambda d: d[:-8], lambda d: b"x" + d[1:]])
def test_damaged_index_is_built_again(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "vmlinux"
    path.write_bytes(good())
    assert Btf.open(tmp_path / "c", str(path)).find("s", KIND_STRUCT) == 2
    (file,) = (tmp_path / "c").iterdir()
    file.write_bytes(damage(file.read_bytes()))
    assert Btf.open(tmp_path / "c", str(path)).find("s", KIND_STRUCT) == 2
    assert len(file.read_bytes()) > 64


def test_index_of_another_btf_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "vmlinux"
    path.write_bytes(good())
    assert Btf.open(tmp_path / "c", str(path)).find("s", KIND_STRUCT) == 2
    (file,) = (tmp_path / "c").iterdir()
    other = w.BtfWriter()
    other.struct("s", 4, [])
    path.write_bytes(other.blob())
    assert Btf.open(tmp_path / "c", str(path)).find("s", KIND_STRUCT) == 1
    assert file.exists()


def test_unwritable_cache_is_reported_not_fatal(tmp_path: Path) -> None:
    path = tmp_path / "vmlinux"
    path.write_bytes(good())
    (tmp_path / "file").write_text("")
    btf = Btf.open(tmp_path / "file" / "cache", str(path))
    assert btf.find("s", KIND_STRUCT) == 2
    assert isinstance(btf.cache_error, OSError)


def test_names_that_share_a_checksum_are_told_apart(opened: Opener) -> None:
    """crc32 of these two names is equal."""
    import zlib

    assert zlib.crc32(b"plumless") == zlib.crc32(b"buckeroo")
    b = w.BtfWriter()
    one, two = b.typedef("plumless", 0), b.typedef("buckeroo", 0)
    btf = opened(b)
    assert btf.find("plumless", KIND_TYPEDEF) == one
    assert btf.find("buckeroo", KIND_TYPEDEF) == two
    assert btf.find("buckeroo", KIND_FUNC) is None
    assert btf.find("buckeroo", KIND_UNION) is None
