"""Property: whatever the writer can express, the reader gives back."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from pystap.debuginfo import btftypes as t
from pystap.debuginfo.btf import Btf, BtfError
from pystap.kernel import btfwriter as w

NAMES = st.text("abcXYZ_09.\xe9", min_size=1, max_size=12)
OPTIONAL_NAMES = st.one_of(st.just(""), NAMES)
U32 = st.integers(0, 2**32 - 1)


@st.composite
def blobs(draw: st.DrawFn) -> tuple[bytes, list[t.BtfType]]:
    """A blob and the views of its types from id 1."""
    writer = w.BtfWriter()
    expected: list[t.BtfType] = []
    count = draw(st.integers(0, 12))
    any_id = st.integers(0, count)
    for number in range(1, count + 1):
        kind = draw(st.sampled_from(sorted(ADDERS)))
        view = ADDERS[kind](draw, writer, any_id, st.integers(0, number - 1))
        expected.append(view)
    return writer.blob(), expected


def add_int(draw, writer, any_id, earlier):  # type: ignore[no-untyped-def]
    name, size = draw(NAMES), draw(st.sampled_from([1, 2, 4, 8, 16]))
    encoding = draw(st.sampled_from([0, 1, 2, 3, 4]))
    writer.integer(name, size, encoding)
    return t.Int(name, size, encoding, size * 8)


def add_reference(draw, writer, any_id, earlier):  # type: ignore[no-untyped-def]
    target = draw(earlier)
    kind, view = draw(
        st.sampled_from(
            [(w.KIND_CONST, t.Const), (w.KIND_VOLATILE, t.Volatile), (w.KIND_RESTRICT, t.Restrict)]
        )
    )
    writer.qualifier(kind, target)
    return view(target)


def add_pointer(draw, writer, any_id, earlier):  # type: ignore[no-untyped-def]
    target = draw(any_id)
    writer.pointer(target)
    return t.Ptr(target)


def add_named_reference(draw, writer, any_id, earlier):  # type: ignore[no-untyped-def]
    name, target = draw(NAMES), draw(earlier)
    if draw(st.booleans()):
        writer.typedef(name, target)
        return t.Typedef(target, name)
    writer.type_tag(name, target)
    return t.TypeTag(target, name)


def add_array(draw, writer, any_id, earlier):  # type: ignore[no-untyped-def]
    element, index, length = draw(earlier), draw(any_id), draw(U32)
    writer.array(element, index, length)
    return t.Array(element, index, length)


def add_struct(draw, writer, any_id, earlier):  # type: ignore[no-untyped-def]
    name, size = draw(OPTIONAL_NAMES), draw(st.integers(0, 1 << 20))
    union = draw(st.booleans())
    bits = st.integers(0, 64) if draw(st.booleans()) else st.just(0)
    place = st.integers(0, (1 << 24) - 1)
    members = draw(st.lists(st.tuples(OPTIONAL_NAMES, earlier, place, bits), max_size=5))
    writer.composite(w.KIND_UNION if union else w.KIND_STRUCT, name, size, members)
    return t.Struct(name, size, union, [t.Member(*member) for member in members])


def add_enum(draw, writer, any_id, earlier):  # type: ignore[no-untyped-def]
    name, signed = draw(OPTIONAL_NAMES), draw(st.booleans())
    size = draw(st.sampled_from([1, 4, 8]))
    bits = 64 if size == 8 else 32
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    values = draw(st.lists(st.tuples(NAMES, st.integers(low, high)), max_size=5))
    writer.enum(name, size, values, signed)
    return t.Enum(name, size, signed, values)


def add_proto(draw, writer, any_id, earlier):  # type: ignore[no-untyped-def]
    result, variadic = draw(any_id), draw(st.booleans())
    params = draw(st.lists(st.tuples(NAMES, any_id), max_size=5))
    writer.prototype(result, params + [("", 0)] * variadic)
    return t.FuncProto(result, [t.Param(*param) for param in params], variadic)


def add_func(draw, writer, any_id, earlier):  # type: ignore[no-untyped-def]
    name, proto, linkage = draw(NAMES), draw(any_id), draw(st.integers(0, 2))
    writer.function(name, proto, linkage)
    return t.Func(name, proto, linkage)


def add_datasec(draw, writer, any_id, earlier):  # type: ignore[no-untyped-def]
    name, size = draw(NAMES), draw(U32)
    variables = draw(st.lists(st.tuples(any_id, U32, U32), max_size=4))
    writer.datasec(name, size, variables)
    return t.Datasec(name, size, variables)


def add_tag(draw, writer, any_id, earlier):  # type: ignore[no-untyped-def]
    name, target, component = draw(NAMES), draw(any_id), draw(st.integers(-1, 100))
    writer.declaration_tag(name, target, component)
    return t.DeclTag(name, target, component)


ADDERS = {
    "array": add_array,
    "datasec": add_datasec,
    "enum": add_enum,
    "func": add_func,
    "int": add_int,
    "named": add_named_reference,
    "pointer": add_pointer,
    "proto": add_proto,
    "reference": add_reference,
    "struct": add_struct,
    "tag": add_tag,
}
KIND_OF = {t.Int: w.KIND_INT, t.Typedef: w.KIND_TYPEDEF, t.Func: w.KIND_FUNC}


@settings(max_examples=150, deadline=None)
@given(blobs())
def test_reader_gives_back_what_was_written(case: tuple[bytes, list[t.BtfType]]) -> None:
    blob, expected = case
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "vmlinux"
        path.write_bytes(blob)
        btf = Btf.open(None, str(path))
        assert btf.end_id == len(expected) + 1
        assert [btf.type(i) for i in range(1, btf.end_id)] == expected
    for type_id, view in enumerate(expected, 1):
        if type(view) in KIND_OF:
            assert type_id in btf.find_all(view.name, KIND_OF[type(view)])
        if isinstance(view, t.Enum):
            for name, _ in view.values:
                found = btf.enumerator(name)
                assert found is not None
                owner = btf.type(found[0])
                assert isinstance(owner, t.Enum)
                assert (name, found[1]) in owner.values
        if isinstance(view, t.Struct):
            for member in view.members:
                if member.name:
                    assert btf.member(type_id, member.name) is not None
        check_never_crashes(btf, type_id)


def check_never_crashes(btf: Btf, type_id: int) -> None:
    """References are arbitrary, so sizes may not exist, but only as a BtfError."""
    assert isinstance(btf.c_name(type_id), str)
    with contextlib.suppress(BtfError):
        assert btf.sizeof(type_id) >= 0
