"""Histograms: bucket indexes, and tables byte for byte."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystap.output.histogram import (
    LOG_BUCKETS,
    linear_bucket,
    linear_buckets,
    log_bucket,
    log_value,
    render_linear,
    render_log,
)

DASHES = "-" * 50


def table(*lines: str) -> bytes:
    """Lines as printed; ``=`` stands for the filler between a bar and its count."""
    return ("\n".join(lines) + "\n\n").encode()


def row(label: str, bar: int, count: int, count_width: int = 1, width: int = 50) -> str:
    """A row written independently of the renderer: absolute columns."""
    text = [" "] * (len(label) + 2 + width + 1 + count_width)
    text[: len(label) + 2 + bar] = f"{label} |" + "@" * bar
    text[len(text) - len(str(count)) :] = str(count)
    return "".join(text)


def log_counts(values: dict[int, int]) -> list[int]:
    counts = [0] * LOG_BUCKETS
    for value, count in values.items():
        counts[log_bucket(value)] += count
    return counts


def test_example_of_the_specification() -> None:
    assert render_linear([0, 3, 0, 1, 0, 0, 0], 0, 40, 10) == (
        b"value |-------------------------------------------------- count\n"
        b"    0 |@@@                                                3\n"
        b"   10 |                                                   0\n"
        b"   20 |@                                                  1\n"
        b"   30 |                                                   0\n"
        b"   40 |                                                   0\n"
        b"\n"
    )


def test_linear_edges_are_shown_when_they_counted() -> None:
    assert render_linear([2, 0, 0, 0, 1], 100, 120, 10) == table(
        f"value |{DASHES} count",
        row(" <100", 2, 2),
        row("  100", 0, 0),
        row("  110", 0, 0),
        row("  120", 0, 0),
        row(" >120", 1, 1),
    )


def test_linear_width_counts_the_sign_of_edges() -> None:
    # start + step * index of the highest bucket has 5 digits and a '>' in front
    assert render_linear([0, 0, 1, 7], 0, 9000, 9000).startswith(b" value |")
    assert render_linear([0, 1, 1, 0], 0, 9000, 9000).startswith(b"value |")
    assert render_linear([1, 1, 0, 0], -10000, 0, 10000).splitlines()[1:3] == [
        row("<-10000", 1, 1).encode(),
        row(" -10000", 1, 1).encode(),
    ]


def test_elision_of_empty_rows() -> None:
    counts = [0, 1, *[0] * 8, 1, 0]
    assert render_linear(counts, 0, 9, 1) == table(
        f"value |{DASHES} count",
        row("    0", 1, 1),
        row("    1", 0, 0),
        row("    2", 0, 0),
        "      ~",
        row("    7", 0, 0),
        row("    8", 0, 0),
        row("    9", 1, 1),
    )


@pytest.mark.parametrize(
    ("elision", "shown"),
    [
        (-1, list(range(10))),
        (0, [0, None, 9]),
        (1, [0, 1, None, 8, 9]),
        (2, [0, 1, 2, None, 7, 8, 9]),
        (3, [0, 1, 2, 3, None, 6, 7, 8, 9]),
        (4, list(range(10))),
    ],
)
def test_elision_parameter(elision: int, shown: list[int | None]) -> None:
    counts = [0, 1, *[0] * 8, 1, 0]
    lines = render_linear(counts, 0, 9, 1, elision=elision).decode().splitlines()[1:-1]
    assert [None if line.strip() == "~" else int(line.split("|")[0]) for line in lines] == shown


def test_bars_are_scaled() -> None:
    assert render_linear([0, 101, 50, 3, 0], 0, 2, 1) == table(
        f"value |{DASHES} count",
        row("    0", 33, 101, 3),
        row("    1", 16, 50, 3),
        row("    2", 1, 3, 3),
    )
    lines = render_linear([0, 50, 49, 0, 0], 0, 2, 1).splitlines()
    assert [line.count(b"@") for line in lines[1:3]] == [50, 49]


def test_width_parameter() -> None:
    assert render_linear([0, 40, 7, 0], 0, 1, 1, width=20) == table(
        f"value |{'-' * 20} count",
        row("    0", 20, 40, 2, 20),
        row("    1", 3, 7, 2, 20),
    )


def test_log_does_not_show_negatives_below_zero() -> None:
    assert render_log(log_counts({0: 1, 3: 2})) == table(
        f"value |{DASHES} count",
        row("    0", 1, 1),
        row("    1", 0, 0),
        row("    2", 2, 2),
        row("    4", 0, 0),
        row("    8", 0, 0),
    )
    assert render_log(log_counts({1: 1})) == table(
        f"value |{DASHES} count",
        row("    0", 0, 0),
        row("    1", 1, 1),
        row("    2", 0, 0),
        row("    4", 0, 0),
    )


def test_log_with_negatives_and_a_gap() -> None:
    assert render_log(log_counts({-5: 3, 100000: 1})) == table(
        f" value |{DASHES} count",
        row("   -16", 0, 0),
        row("    -8", 0, 0),
        row("    -4", 3, 3),
        row("    -2", 0, 0),
        row("    -1", 0, 0),
        "       ~",
        row(" 16384", 0, 0),
        row(" 32768", 0, 0),
        row(" 65536", 1, 1),
        row("131072", 0, 0),
        row("262144", 0, 0),
    )


def test_log_extremes() -> None:
    text = render_log(log_counts({-(1 << 63): 1, (1 << 63) - 1: 1})).decode()
    lines = text.splitlines()
    assert lines[1] == row("-9223372036854775808", 1, 1)
    assert lines[-2] == row(" 4611686018427387904", 1, 1)


def test_an_empty_histogram_is_only_a_header() -> None:
    assert render_log([0] * LOG_BUCKETS) == table(f"value |{DASHES} count")
    assert render_linear([0] * 4, 0, 1, 1) == table(f"value |{DASHES} count")


@given(st.integers(-(1 << 63), (1 << 63) - 1))
def test_log_bucket_holds_its_values(value: int) -> None:
    bucket = log_bucket(value)
    shown = log_value(bucket)
    assert 0 <= bucket < LOG_BUCKETS
    if value > 0:
        assert shown <= value < 2 * shown
        assert (1 << (bucket - 65)) <= value < (1 << (bucket - 64))
    elif value < 0:
        assert shown >= value > 2 * shown
    else:
        assert (bucket, shown) == (64, 0)
    assert value == -(1 << 63) or log_bucket(-value) == 128 - bucket


@given(
    st.integers(-1000, 1000),
    st.integers(-100, 100),
    st.integers(1, 30),
    st.integers(0, 60),
)
def test_linear_bucket_holds_its_values(value: int, start: int, step: int, steps: int) -> None:
    stop = start + step * steps
    last = linear_buckets(start, stop, step) - 1
    assert last == steps + 2
    bucket = linear_bucket(value, start, stop, step)
    if value < start:
        assert bucket == 0
    elif value >= stop + step:
        assert bucket == last
    else:
        low = start + (bucket - 1) * step
        assert low <= value < low + step
