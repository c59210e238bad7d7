"""A made-up kernel: BTF with a few types, two tracepoints, a variable and a module."""

from __future__ import annotations

from pathlib import Path

from pystap.debuginfo.btf import Btf
from pystap.kernel.btfwriter import (
    INT_BOOL,
    INT_CHAR,
    INT_SIGNED,
    KIND_CONST,
    KIND_STRUCT,
    KIND_UNION,
    BtfWriter,
)

# In C:
#
#   enum color { RED, GREEN = 5 };
#   typedef int pid_t;
#   struct point { short x; long y; };
#   struct flags { unsigned a : 3; unsigned b : 7; int c : 5; unsigned char d : 4; };
#   struct opaque;
#   struct thing {
#       pid_t pid;                          /*  0 */
#       enum color color;                   /*  4 */
#       char name[16];                      /*  8 */
#       struct thing *next;                 /* 24 */
#       struct point where;                 /* 32 */
#       struct point route[7];              /* 48 */
#       union { int left; unsigned long right; };  /* 160 */
#       struct flags bits;                  /* 168 */
#       bool ready;                         /* 176 */
#       char letter;                        /* 177 */
#       char const *label;                  /* 184 */
#       void *data;                         /* 192 */
#       long *numbers;                      /* 200 */
#       struct opaque *hidden;              /* 208 */
#       char __user *text;                  /* 216 */
#       struct thing __user *remote;        /* 224 */
#       int __percpu *counts;               /* 232 */
#       double ratio;                       /* 240 */
#       __int128 huge;                      /* 256 */
#   };                                      /* 272 bytes */
#   TRACE thing_done(bool yes, struct thing *thing, int n, unsigned short u, char c,
#                    enum color color, char const *label, struct point by_value);
#   TRACE quiet(void);
#   long counter (per CPU)


def write(directory: Path) -> Btf:
    """Write the BTF of the kernel and its module ``extra``, and open the kernel's."""
    writer = BtfWriter()
    ids = _types(writer)
    params = [
        ("", ids["void*"]), ("", ids["bool"]), ("", ids["thing*"]), ("", ids["int"]),
        ("", ids["u16"]), ("", ids["char"]), ("", ids["color"]), ("", ids["label"]),
        ("", ids["point"]),
    ]  # fmt: skip
    names = ("__data", "yes", "thing", "n", "u", "c", "color", "label", "by_value")
    _tracepoint(writer, "thing_done", names, params)
    _tracepoint(writer, "quiet", ("__data",), [("", ids["void*"])])
    counter = writer.variable("counter", ids["long"])
    writer.datasec(".data..percpu", 8, [(counter, 0, 8)])
    blob = writer.blob()
    (directory / "vmlinux").write_bytes(blob)
    btf = Btf.open(path=str(directory / "vmlinux"))
    _write_module(directory, btf, ids)
    return btf


def _types(writer: BtfWriter) -> dict[str, int]:
    ids: dict[str, int] = {}
    ids["int"] = writer.integer("int", 4, INT_SIGNED)
    ids["u32"] = writer.integer("unsigned int", 4)
    ids["u16"] = writer.integer("short unsigned int", 2)
    ids["short"] = writer.integer("short int", 2, INT_SIGNED)
    ids["long"] = writer.integer("long int", 8, INT_SIGNED)
    ids["ulong"] = writer.integer("long unsigned int", 8)
    ids["char"] = writer.integer("char", 1, INT_SIGNED | INT_CHAR)
    ids["uchar"] = writer.integer("unsigned char", 1)
    ids["bool"] = writer.integer("_Bool", 1, INT_BOOL)
    ids["int128"] = writer.integer("__int128", 16, INT_SIGNED)
    ids["double"] = writer.floating("double", 8)
    ids["pid_t"] = writer.typedef("pid_t", ids["int"])
    ids["color"] = writer.enum("color", 4, [("RED", 0), ("GREEN", 5)])
    ids["void*"] = writer.pointer(0)
    ids["point"] = writer.struct("point", 16, [("x", ids["short"], 0), ("y", ids["long"], 8)])
    fields = [("a", "u32", 0, 3), ("b", "u32", 3, 7), ("c", "int", 10, 5), ("d", "uchar", 16, 4)]
    packed = [(name, ids[kind], at, bits) for name, kind, at, bits in fields]
    ids["flags"] = writer.composite(KIND_STRUCT, "flags", 8, packed)
    ids["opaque"] = writer.forward("opaque")
    either = [("left", ids["int"], 0, 0), ("right", ids["ulong"], 0, 0)]
    ids["either"] = writer.composite(KIND_UNION, "", 8, either)
    ids["label"] = writer.pointer(writer.qualifier(KIND_CONST, ids["char"]))
    ids["text"] = writer.pointer(writer.type_tag("user", ids["char"]))
    ids["counts"] = writer.pointer(writer.type_tag("percpu", ids["int"]))
    ids["long*"] = writer.pointer(ids["long"])
    ids["hidden"] = writer.pointer(ids["opaque"])
    ids["name"] = writer.array(ids["char"], ids["int"], 16)
    ids["route"] = writer.array(ids["point"], ids["int"], 7)
    _thing(writer, ids)
    return ids


def _thing(writer: BtfWriter, ids: dict[str, int]) -> None:
    """``struct thing``, which points to itself: three more types follow it."""
    thing = writer.pointer(0) + 1
    ids["thing*"], ids["remote"] = thing + 1, thing + 2
    members = [
        ("pid", "pid_t", 0), ("color", "color", 4), ("name", "name", 8), ("next", "thing*", 24),
        ("where", "point", 32), ("route", "route", 48), ("", "either", 160),
        ("bits", "flags", 168), ("ready", "bool", 176), ("letter", "char", 177),
        ("label", "label", 184), ("data", "void*", 192), ("numbers", "long*", 200),
        ("hidden", "hidden", 208), ("text", "text", 216), ("remote", "remote", 224),
        ("counts", "counts", 232), ("ratio", "double", 240), ("huge", "int128", 256),
    ]  # fmt: skip
    placed = [(name, ids[kind], at) for name, kind, at in members]
    ids["thing"] = writer.struct("thing", 272, placed)
    assert ids["thing"] == thing
    writer.pointer(thing)
    writer.pointer(thing + 3)
    writer.type_tag("user", thing)


def _tracepoint(
    writer: BtfWriter, name: str, names: tuple[str, ...], params: list[tuple[str, int]]
) -> None:
    anonymous = writer.pointer(writer.prototype(0, params))
    writer.typedef(f"btf_trace_{name}", anonymous)
    named = [(label, kind) for label, (_, kind) in zip(names, params)]
    writer.function(f"__traceiter_{name}", writer.prototype(0, named))


def _write_module(directory: Path, base: Btf, ids: dict[str, int]) -> None:
    writer = BtfWriter(base.end_id, base.string_size)
    opaque = writer.struct("opaque", 8, [("secret", ids["long"], 0)])
    params = [("", ids["void*"]), ("", writer.pointer(opaque)), ("", ids["thing*"])]
    _tracepoint(writer, "extra_event", ("__data", "op", "thing"), params)
    (directory / "extra").write_bytes(writer.blob())
