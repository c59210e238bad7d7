"""From interpreted values to printed bytes and back."""

from __future__ import annotations

from collections.abc import Sequence

from pystap.output.formats import Directive, Format
from pystap.output.render import render, render_histogram
from pystap.typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pystap.ir.module import Limits
    from pystap.ir.types import Global


def encode(text: str) -> bytes:
    """A string value as the bytes it stands for."""
    return text.encode("latin-1")


def decode(data: bytes) -> str:
    """Bytes as a string value."""
    return data.decode("latin-1")


def until_nul(text: str) -> str:
    """A string value as far as its first NUL, where every string ends."""
    end = text.find("\0")
    return text if end < 0 else text[:end]


def apply_format(fmt: Format, args: Sequence[Any]) -> bytes:
    """A format applied to interpreted values."""
    return render(fmt, [encode(a) if isinstance(a, str) else a for a in args])


def histogram_text(
    kind: str, var: Global, counts: Sequence[int], newline: bool, limits: Limits
) -> bytes:
    """A printed histogram of an aggregate."""
    params = var.stats.linear if kind == "linear" and var.stats else None
    directive = Directive(f"hist_{kind}", params=params or ())
    table = render_histogram(directive, counts, limits.hist_width, limits.hist_elision)
    return table + b"\n" if newline else table
