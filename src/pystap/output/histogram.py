"""Histograms: which bucket a value falls into, and how the table of buckets is printed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pystap.typing import Final

LOG_BUCKETS: Final = 128
LOG_ZERO: Final = 64  # raw index of value 0
WIDTH: Final = 50  # default of HIST_WIDTH
ELISION: Final = 2  # default of HIST_ELISION
_MARGIN: Final = 2  # empty rows shown on both sides of the data


def log_bucket(value: int) -> int:
    """Raw index of a value: 64 holds 0, n > 64 holds [2^(n-65), 2^(n-64)), mirrored below."""
    if value >= 0:
        return LOG_ZERO + value.bit_length()
    return LOG_ZERO - (-value).bit_length()


def log_value(bucket: int) -> int:
    """What the row of a raw index shows: the value in the bucket that is nearest to 0."""
    if bucket > LOG_ZERO:
        return 1 << (bucket - LOG_ZERO - 1)
    return -(1 << (LOG_ZERO - 1 - bucket)) if bucket < LOG_ZERO else 0


def linear_buckets(start: int, stop: int, step: int) -> int:
    """Number of buckets, the one below ``start`` and the one above ``stop`` included."""
    return (stop - start) // step + 3


def linear_bucket(value: int, start: int, stop: int, step: int) -> int:
    """Raw index of a value: 0 is below ``start``, the last is above the last regular bucket."""
    if value < start:
        return 0
    return min((value - start) // step + 1, linear_buckets(start, stop, step) - 1)


def render_log(counts: Sequence[int], width: int = WIDTH, elision: int = ELISION) -> bytes:
    """The table of ``@hist_log``: 128 counts by raw index; bars of at most ``width`` marks.

    A row is left out when it and its ``elision`` neighbours on both sides are empty; a negative
    ``elision`` shows every row of the range.
    """
    if not any(counts):
        return _table(counts, 1, 0, 5, width, elision, str)
    low, high = _data_range(counts)
    for _ in range(_MARGIN):
        if low > 0 and low != LOG_ZERO:
            low -= 1
        high = min(high + 1, len(counts) - 1)
    value_width = max(5, len(str(log_value(low))), len(str(log_value(high))))
    return _table(
        counts, low, high, value_width, width, elision, lambda bucket: str(log_value(bucket))
    )


def render_linear(
    counts: Sequence[int],
    start: int,
    stop: int,
    step: int,
    width: int = WIDTH,
    elision: int = ELISION,
) -> bytes:
    """The table of ``@hist_linear``; ``counts`` by raw index, edges included.

    The edge rows ``<start`` and ``>last`` appear only when they counted something.
    """
    if not any(counts):
        return _table(counts, 1, 0, 5, width, elision, str)
    last = linear_buckets(start, stop, step) - 1
    low, high = _data_range(counts)
    below, above = low == 0, high == last
    if not below:
        low = max(low - _MARGIN, 1)
    if not above:
        high = min(high + _MARGIN, last - 1)

    def label(bucket: int) -> str:
        if bucket == 0:
            return f"<{start}"
        if bucket == last:
            return f">{start + (last - 2) * step}"
        return str(start + (bucket - 1) * step)

    value_width = max(5, len(str(start)) + below, len(str(start + step * high)) + above)
    return _table(counts, low, high, value_width, width, elision, label)


def _data_range(counts: Sequence[int]) -> tuple[int, int]:
    """Lowest and highest bucket that is not empty."""
    filled = [bucket for bucket, count in enumerate(counts) if count]
    return filled[0], filled[-1]


def _table(
    counts: Sequence[int],
    low: int,
    high: int,
    value_width: int,
    width: int,
    elision: int,
    label: Callable[[int], str],
) -> bytes:
    most = max(counts, default=0)
    scale = 1 if most <= width else -(-most // max(width, 1))
    count_end = width + 1 + len(str(most))
    lines = [f"{'value':>{value_width}} |{'-' * width} count"]
    skipping = False
    for bucket in range(low, high + 1):
        if _elided(counts, bucket, low, high, elision):
            if not skipping:
                lines.append(" " * value_width + " ~")
            skipping = True
            continue
        skipping = False
        bar = "@" * (counts[bucket] // scale)
        count = str(counts[bucket])
        lines.append(
            f"{label(bucket):>{value_width}} |{bar}{count:>{max(count_end - len(bar), 0)}}"
        )
    lines += ["", ""]
    return "\n".join(lines).encode("latin-1")


def _elided(counts: Sequence[int], bucket: int, low: int, high: int, elision: int) -> bool:
    """Whether a row and its neighbours within the range are all empty."""
    if elision < 0:
        return False
    near = counts[max(low, bucket - elision) : min(high, bucket + elision) + 1]
    return not any(near)
