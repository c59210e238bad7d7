from __future__ import annotations

import pytest

from pystap.kernel import tracefs


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;",
            ("common_type", "unsigned short", 0, 2, False),
        ),
        (
            "\tfield:char comm[16];\toffset:8;\tsize:16;\tsigned:0;",
            ("comm", "char[16]", 8, 16, False),
        ),
        (
            "\tfield:__data_loc char[] name;\toffset:12;\tsize:4;\tsigned:0;",
            ("name", "__data_loc char[]", 12, 4, False),
        ),
        (
            "\tfield:const char * text;\toffset:16;\tsize:8;\tsigned:0;",
            ("text", "const char *", 16, 8, False),
        ),
        ("\tfield:void *p;\toffset:24;\tsize:8;\tsigned:0;", ("p", "void*", 24, 8, False)),
        ("\tfield:long id;\toffset:8;\tsize:8;\tsigned:1;", ("id", "long", 8, 8, True)),
    ],
)
def test_field_lines(line: str, expected: tuple[str, str, int, int, bool]) -> None:
    field = tracefs._field(line)
    assert (field.name, field.ctype, field.offset, field.size, field.signed) == expected


def test_absence_is_an_error_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracefs, "tracefs_path", lambda: None)
    with pytest.raises(tracefs.TracefsError, match="tracefs is not mounted"):
        tracefs.tracepoint_id("sched", "sched_switch")
