"""Kernel BTF: types, functions, tracepoints and enumerators of the running kernel.

``Btf.open`` maps ``/sys/kernel/btf/vmlinux`` (or reads it where the kernel cannot map it); the
BTF of a module is a :class:`Btf` of its own on top of it, from :meth:`Btf.module`.  The first
look-up loads or builds the index of :mod:`pystap.debuginfo.btfindex`.
"""

from __future__ import annotations

import os
import struct
from bisect import bisect_left
from zlib import crc32

from pystap.debuginfo import btftypes as t
from pystap.debuginfo.btffile import (
    KERNEL_BTF,
    BtfError,
    BtfMissing,
    read,
    sections,
    size_of,
)
from pystap.debuginfo.btfindex import (
    TRACEPOINT_PREFIX,
    Index,
    MalformedBtfError,
    build_index,
    load_index,
    save_index,
)
from pystap.debuginfo.sizes import type_size
from pystap.kernel.btfwriter import (
    KIND_ARRAY,
    KIND_CONST,
    KIND_DATASEC,
    KIND_DECL_TAG,
    KIND_ENUM,
    KIND_ENUM64,
    KIND_FLOAT,
    KIND_FUNC,
    KIND_FUNC_PROTO,
    KIND_FWD,
    KIND_INT,
    KIND_PTR,
    KIND_RESTRICT,
    KIND_STRUCT,
    KIND_TYPE_TAG,
    KIND_TYPEDEF,
    KIND_UNION,
    KIND_VAR,
    KIND_VOLATILE,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    import mmap
    from collections.abc import Iterator
    from pathlib import Path

__all__ = [
    "KIND_ENUM",
    "KIND_ENUM64",
    "KIND_FUNC",
    "KIND_INT",
    "KIND_STRUCT",
    "KIND_TYPEDEF",
    "KIND_UNION",
    "KIND_VAR",
    "Btf",
    "BtfError",
    "BtfMissing",
    "Tracepoint",
]

#: how the kernel marks tracepoint parameters that may be NULL
_NULLABLE = "__nullable"
#: functions that carry the parameter names of a tracepoint, best first
_NAMED_BY = ("__traceiter_", "__probestub_", "__bpf_trace_")
_QUALIFIERS = (KIND_TYPEDEF, KIND_VOLATILE, KIND_CONST, KIND_RESTRICT, KIND_TYPE_TAG)
_REFERENCES: dict[int, type[t.Ptr | t.Const | t.Volatile | t.Restrict]] = {
    KIND_PTR: t.Ptr,
    KIND_CONST: t.Const,
    KIND_VOLATILE: t.Volatile,
    KIND_RESTRICT: t.Restrict,
}
#: no real type chains that deep: a longer one is a cycle in damaged BTF
_DEEPEST = 64


class Btf:
    """One BTF object: the kernel's, or a module's on top of ``base``.

    Ids are those of the kernel.  Ids below ``first_id`` belong to the base, and all methods
    accept them.  ``cache_error`` is why the index could not be saved, if it could not.
    """

    # The contents, read when one of these is first used: see __getattr__.
    _data: mmap.mmap | bytes
    _words: memoryview
    _strings_start: int
    _strings_end: int

    __slots__ = (
        "_cache_dir",
        "_data",
        "_index",
        "_key",
        "_modules",
        "_size",
        "_strings_end",
        "_strings_start",
        "_words",
        "base",
        "cache_error",
        "first_id",
        "first_string",
        "name",
        "path",
    )

    _CONTENTS = ("_data", "_words", "_strings_start", "_strings_end")

    def __init__(
        self, path: str, name: str, base: Btf | None = None, cache_dir: Path | None = None
    ) -> None:
        self.path = path
        self.name = name
        self.base = base
        self.cache_error: OSError | None = None
        self._cache_dir = cache_dir
        self._index: Index | None = None
        self._key = b""
        self._modules: dict[str, Btf] = {}
        self._size = size_of(path)
        self.first_id = base.end_id if base else 1
        self.first_string = base.string_size if base else 0

    @classmethod
    def open(cls, cache_dir: Path | None = None, path: str = KERNEL_BTF) -> Btf:
        """The kernel's BTF; its index is kept in ``cache_dir`` if given.

        Raises :class:`BtfMissing`.
        """
        btf = cls(str(path), "vmlinux", None, cache_dir)
        btf._load()
        return btf

    def _load(self) -> None:
        self._data = read(self.path)
        start, length, self._strings_start, strings = sections(self._data, self.path)
        self._words = memoryview(self._data)[start : start + length].cast("I")
        self._strings_end = self._strings_start + strings

    def __getattr__(self, name: str) -> object:
        """Called for what is not set yet: listing many modules needs their indexes only."""
        if name not in Btf._CONTENTS:
            raise AttributeError(name)
        self._load()
        value: object = object.__getattribute__(self, name)
        return value

    # ------------------------------------------------------------ modules

    def module_names(self) -> list[str]:
        """Names of the loaded modules that have BTF: the files beside one called ``vmlinux``."""
        directory, own = os.path.split(self.path)
        if own != self.name or self.base is not None:
            return []
        return sorted(name for name in os.listdir(directory) if name != own)

    def module(self, name: str) -> Btf:
        """The BTF of a loaded module, or :class:`BtfMissing`."""
        found = self._modules.get(name)
        if found is None:
            path = os.path.join(os.path.dirname(self.path), name)
            found = self._modules[name] = Btf(path, name, self, self._cache_dir)
        return found

    def add_module(self, name: str, path: str) -> None:
        """Take the BTF of a module that is not loaded from a file; :class:`BtfMissing`."""
        found = Btf(path, name, self)
        found._load()
        self._modules[name] = found

    def _loaded_modules(self) -> Iterator[Btf]:
        for name in self.module_names():
            try:
                yield self.module(name)
            except BtfMissing as missing:
                if os.path.exists(missing.path):
                    raise
                # else the module was unloaded meanwhile

    # ------------------------------------------------------------ look-up by name

    def find(self, name: str, kind: int) -> int | None:
        """The first type called ``name`` of ``kind`` (``KIND_*``), in here or in the base."""
        for type_id in self._named(name):
            if self._kind(type_id) == kind:
                return type_id
        return self.base.find(name, kind) if self.base else None

    def definition(self, declared: t.Fwd) -> tuple[Btf, int] | None:
        """The structure or union of a mere declaration."""
        found = self.find(declared.name, KIND_UNION if declared.is_union else KIND_STRUCT)
        return None if found is None else (self, found)

    def find_all(self, name: str, kind: int) -> list[int]:
        """All types called ``name`` of ``kind``: kernels do have several structs of one name."""
        found = self.base.find_all(name, kind) if self.base else []
        return found + [i for i in self._named(name) if self._kind(i) == kind]

    def names(self, kind: int) -> Iterator[tuple[str, int]]:
        """Name and id of all types of ``kind`` in this object (not its base), in id order."""
        words, offsets = self._words, self.index.offsets
        for type_id, position in enumerate(offsets, self.first_id):
            if words[position + 1] >> 24 & 31 == kind and words[position]:
                yield self._string(words[position]), type_id

    def func(self, name: str) -> t.FuncProto | None:
        """The prototype of a function, with parameter names."""
        type_id = self.find(name, KIND_FUNC)
        return None if type_id is None else self._proto_of(type_id)

    def enum_value(self, name: str) -> int | None:
        """The value of an enumerator, whatever its enumeration; the first if there are more."""
        found = self.enumerator(name)
        return None if found is None else found[1]

    def enumerator(self, name: str) -> tuple[int, int] | None:
        """The enumeration's id and the value of an enumerator."""
        for type_id in self._hits(self.index.enumerators, name):
            view = self.type(type_id)
            if isinstance(view, t.Enum):
                for label, value in view.values:
                    if label == name:
                        return type_id, value
        return self.base.enumerator(name) if self.base else None

    def tracepoints(self, modules: bool = True) -> list[Tracepoint]:
        """All tracepoints, of loaded modules as well unless ``modules`` is false, by name."""
        found = [Tracepoint(self, type_id) for type_id in self.index.tracepoints]
        if modules:
            for module in self._loaded_modules():
                found += module.tracepoints()
        found.sort(key=lambda tracepoint: tracepoint.name)
        return found

    def tracepoint(self, name: str) -> Tracepoint | None:
        """One tracepoint of the kernel or of a loaded module."""
        type_id = self.find(TRACEPOINT_PREFIX.decode() + name, KIND_TYPEDEF)
        if type_id is not None:
            return Tracepoint(self, type_id)
        for module in self._loaded_modules():
            found = module.tracepoint(name)
            if found is not None:
                return found
        return None

    # ------------------------------------------------------------ types

    def type(self, type_id: int) -> t.BtfType:
        """The view of a type."""
        if type_id == 0:
            return t.Void("void")
        owner = self._owner(type_id)
        return owner._view(owner.index.offsets[type_id - owner.first_id])

    def resolve(self, type_id: int) -> int:
        """The id behind typedefs, qualifiers and type tags."""
        for _ in range(_DEEPEST):
            if type_id == 0:
                return 0
            owner = self._owner(type_id)
            position = owner.index.offsets[type_id - owner.first_id]
            if owner._words[position + 1] >> 24 & 31 not in _QUALIFIERS:
                return type_id
            type_id = owner._words[position + 2]
        raise BtfError(f"type {type_id} refers to itself")

    def member(self, type_id: int, name: str) -> tuple[int, int, int] | None:
        """A member of a structure or union: (type id, bit offset, bit-field size or 0).

        Looks through typedefs and qualifiers, and into anonymous members.
        """
        return self._member(self.resolve(type_id), name, 0)

    def members(self, type_id: int) -> list[t.Member]:
        """All members that :meth:`member` finds, those of anonymous members at their place."""
        return list(t.flattened(self, type_id))

    def sizeof(self, type_id: int) -> int:
        """Size in bytes; :class:`BtfError` for what has none (void, functions, declarations)."""
        return type_size(self, type_id)

    def c_name(self, type_id: int, declarator: str = "") -> str:
        """The C spelling of a type, e.g. ``struct task_struct *`` or ``char const *``.

        ``declarator`` (a name) goes where C wants it: ``int (*f)(void)``.
        """
        from pystap.debuginfo.cnames import spell

        return spell(self, type_id, declarator)

    # ------------------------------------------------------------ bounds and parts

    @property
    def index(self) -> Index:
        """The index, loaded or built at first use; :class:`BtfMissing` if the BTF is damaged."""
        if self._index is None:
            self._index = self._open_index()
        return self._index

    @property
    def end_id(self) -> int:
        """One past the last type id."""
        return self.first_id + len(self.index.offsets)

    @property
    def string_size(self) -> int:
        """Bytes of strings, those of the base included."""
        return self.first_string + self._strings_end - self._strings_start

    def _open_index(self) -> Index:
        path, key = None, b""
        if self._cache_dir is not None:
            key = self._identity()
            path = self._cache_dir / f"btf-{self.name}-{crc32(key):08x}.index"
            index = load_index(path, key)
            if index is not None:
                return index
        strings = bytes(self._data[self._strings_start : self._strings_end])
        base_string = self.base._string if self.base else None
        try:
            index = build_index(
                self._words, strings, self.first_id, self.first_string, base_string
            )
        except MalformedBtfError as error:
            raise BtfMissing(self.path, str(error)) from None
        if path is not None:
            try:
                save_index(index, path, key)
            except OSError as error:  # a read-only home is no reason to stop
                self.cache_error = error
        return index

    def _identity(self) -> bytes:
        """Identifies this BTF: the build id for the running kernel's, else a checksum."""
        if not self._key:
            self._key = self._find_identity()
        return self._key

    def _find_identity(self) -> bytes:
        from pystap.kernel.cpu import kernel_build_id, module_build_id

        build = None
        if self.path == KERNEL_BTF:
            build = kernel_build_id()
        elif os.path.dirname(self.path) == os.path.dirname(KERNEL_BTF):
            build = module_build_id(self.name)
        identity = bytes.fromhex(build) if build else struct.pack("=I", crc32(self._data))
        below = crc32(self.base._identity()) if self.base else 0
        shape = struct.pack("=QI", self._size, below)
        return shape + identity[:20].ljust(20, b"\0")

    def _hits(self, table: memoryview, name: str) -> Iterator[int]:
        """Ids under the checksum of ``name``: the caller compares the name itself."""
        checksum = crc32(name.encode("latin-1", "replace"))
        position = bisect_left(table, checksum << 32)
        while position < len(table) and table[position] >> 32 == checksum:
            yield table[position] & 0xFFFFFFFF
            position += 1

    def _named(self, name: str) -> Iterator[int]:
        words, offsets = self._words, self.index.offsets
        for type_id in self._hits(self.index.names, name):
            if self._string(words[offsets[type_id - self.first_id]]) == name:
                yield type_id

    def _owner(self, type_id: int) -> Btf:
        if type_id < self.first_id and self.base is not None:
            return self.base._owner(type_id)
        if not self.first_id <= type_id < self.end_id:
            raise BtfError(f"no type with id {type_id} in the BTF of {self.name}")
        return self

    def _kind(self, type_id: int) -> int:
        return self._words[self.index.offsets[type_id - self.first_id] + 1] >> 24 & 31

    def _string(self, offset: int) -> str:
        if offset < self.first_string and self.base is not None:
            return self.base._string(offset)
        start = self._strings_start + offset - self.first_string
        end = self._data.find(b"\0", start, self._strings_end)
        if end < 0:
            raise BtfError(f"no string at {offset} in the BTF of {self.name}")
        return self._data[start:end].decode("latin-1")

    # ------------------------------------------------------------ records

    def _view(self, at: int) -> t.BtfType:
        """Decode the record at word ``at`` of this object."""
        words = self._words
        label, info, size = words[at], words[at + 1], words[at + 2]
        kind, vlen, flag = info >> 24 & 31, info & 0xFFFF, bool(info >> 31)
        name = self._string(label) if label else ""
        if kind in _REFERENCES:
            return _REFERENCES[kind](size)
        if kind in (KIND_STRUCT, KIND_UNION):
            return t.Struct(name, size, kind == KIND_UNION, self._struct_members(at, vlen, flag))
        if kind == KIND_TYPEDEF:
            return t.Typedef(size, name)
        if kind == KIND_INT:
            extra = words[at + 3]
            return t.Int(name, size, extra >> 24 & 15, extra & 0xFF)
        if kind == KIND_FUNC:
            return t.Func(name, size, vlen)
        if kind == KIND_FUNC_PROTO:
            return self._proto(at, vlen)
        if kind == KIND_ARRAY:
            return t.Array(words[at + 3], words[at + 4], words[at + 5])
        if kind in (KIND_ENUM, KIND_ENUM64):
            return t.Enum(name, size, flag, self._enumerators(at, vlen, flag, kind == KIND_ENUM64))
        return self._rare_view(at, kind, name)

    def _rare_view(self, at: int, kind: int, name: str) -> t.BtfType:
        words = self._words
        info, size = words[at + 1], words[at + 2]
        if kind == KIND_FWD:
            return t.Fwd(name, bool(info >> 31))
        if kind == KIND_FLOAT:
            return t.Float(name, size)
        if kind == KIND_TYPE_TAG:
            return t.TypeTag(size, name)
        if kind == KIND_VAR:
            return t.Var(name, size, words[at + 3])
        if kind == KIND_DECL_TAG:
            component = words[at + 3]
            return t.DeclTag(name, size, component - (component >> 31 << 32))
        if kind == KIND_DATASEC:
            entries = words[at + 3 : at + 3 + 3 * (info & 0xFFFF)].tolist()
            return t.Datasec(name, size, list(zip(*[iter(entries)] * 3)))
        raise BtfError(f"unknown kind {kind} of type")

    def _struct_members(self, at: int, vlen: int, flag: bool) -> list[t.Member]:
        words, found = self._words, []
        for slot in range(at + 3, at + 3 + 3 * vlen, 3):
            place = words[slot + 2]
            label = words[slot]
            name = self._string(label) if label else ""
            if flag:
                found.append(t.Member(name, words[slot + 1], place & 0xFFFFFF, place >> 24))
            else:
                found.append(t.Member(name, words[slot + 1], place, 0))
        return found

    def _enumerators(self, at: int, vlen: int, signed: bool, wide: bool) -> list[tuple[str, int]]:
        words, found = self._words, []
        width, bits = (3, 64) if wide else (2, 32)
        for slot in range(at + 3, at + 3 + width * vlen, width):
            value = words[slot + 1] | (words[slot + 2] << 32 if wide else 0)
            if signed and value >> (bits - 1):
                value -= 1 << bits
            found.append((self._string(words[slot]), value))
        return found

    def _proto(self, at: int, vlen: int) -> t.FuncProto:
        words = self._words
        slots = range(at + 3, at + 3 + 2 * vlen, 2)
        listed = [(words[slot], words[slot + 1]) for slot in slots]
        variadic = bool(listed) and listed[-1] == (0, 0)
        if variadic:
            listed.pop()
        params = [t.Param(self._string(n) if n else "", kind) for n, kind in listed]
        return t.FuncProto(words[at + 2], params, variadic)

    def _proto_of(self, type_id: int) -> t.FuncProto:
        """The prototype behind a function, a typedef or a pointer."""
        for _ in range(_DEEPEST):
            view = self.type(type_id)
            if isinstance(view, t.FuncProto):
                return view
            if isinstance(view, t.Func):
                type_id = view.proto
            elif isinstance(view, t.Reference):
                type_id = view.target
            else:
                break
        raise BtfError(f"type {type_id} is no function")

    def _member(self, type_id: int, name: str, depth: int) -> tuple[int, int, int] | None:
        """:meth:`member` of a resolved id, without making views of the other members."""
        owner = self._owner(type_id) if type_id else self
        if owner is not self:
            return owner._member(type_id, name, depth)
        words = self._words
        at = self.index.offsets[type_id - self.first_id] if type_id else 0
        info = words[at + 1] if type_id else 0
        if info >> 24 & 31 not in (KIND_STRUCT, KIND_UNION) or depth > _DEEPEST:
            return None
        flag = info >> 31
        for slot in range(at + 3, at + 3 + 3 * (info & 0xFFFF), 3):
            label, kind, place = words[slot], words[slot + 1], words[slot + 2]
            bits, offset = (place >> 24, place & 0xFFFFFF) if flag else (0, place)
            if label:
                if self._string(label) == name:
                    return kind, offset, bits
            else:
                inner = self._member(self.resolve(kind), name, depth + 1)
                if inner is not None:
                    return inner[0], offset + inner[1], inner[2]
        return None


class Tracepoint:
    """A tracepoint: its name, the typedef a tp_btf program attaches by, its parameters.

    ``btf.name`` is the module it belongs to, or ``vmlinux``.
    """

    __slots__ = ("btf", "name", "typedef_id")

    def __init__(self, btf: Btf, typedef_id: int) -> None:
        self.btf = btf
        self.typedef_id = typedef_id
        self.name = btf.type(typedef_id).name[len(TRACEPOINT_PREFIX) :]

    def params(self) -> list[t.Param]:
        """Parameters as in TP_PROTO, without the kernel's own first ``void *``.

        The typedef ``btf_trace_NAME`` has the types the verifier goes by, but no names.  The
        names are those of the function ``__traceiter_NAME``: every tracepoint has one of its own,
        where ``__bpf_trace_CLASS`` exists once for a class of events and under its name.  Should
        it be missing, ``__probestub_NAME`` and ``__bpf_trace_NAME`` are asked, and last the
        parameters are called ``arg1``, ``arg2`` and so on.
        """
        proto = self.btf._proto_of(self.typedef_id)
        names = self._param_names(len(proto.params))
        found = []
        for number, (param, name) in enumerate(zip(proto.params, names)):
            if number:
                nullable = name.endswith(_NULLABLE)
                plain = name.removesuffix(_NULLABLE) or f"arg{number}"
                found.append(t.Param(plain, param.type, nullable))
        return found

    def _param_names(self, count: int) -> list[str]:
        for prefix in _NAMED_BY:
            proto = self.btf.func(prefix + self.name)
            if proto is not None and len(proto.params) == count:
                return [param.name for param in proto.params]
        return [""] * count
