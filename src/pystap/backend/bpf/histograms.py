"""Histograms: single buckets, printing."""

from __future__ import annotations

from pystap.backend.bpf import emit, output, stats
from pystap.backend.bpf.errors import raise_error
from pystap.backend.bpf.strings import copy_words
from pystap.ir import errors, ops
from pystap.output.formats import Directive, Format
from pystap.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pystap.backend.bpf.scope import Scope
    from pystap.backend.llvm.builder import Value
    from pystap.ir.types import Global


def buckets(s: Scope, kind: str, var: Global, keys: list[ops.Expr], pos: int) -> tuple[Value, int]:
    """Emit the merging of a histogram: where its buckets are and how many; empty: an error."""
    total, words = stats.merged(s, var, keys, f"hist_{kind}")
    with s.b.if_(s.b.load("i64", total).eq(0)):
        raise_error(s, errors.EMPTY_AGGREGATE, pos)
    if kind == "log":
        return s.b.at(total, words.log), stats.LOG_BUCKETS
    return s.b.at(total, words.linear), words.linear_count


def bucket_count(kind: str, var: Global) -> int:
    """Number of buckets of an aggregate's histogram."""
    if kind == "log":
        return stats.LOG_BUCKETS
    assert var.stats is not None
    assert var.stats.linear is not None
    return stats.linear_buckets(var.stats.linear)


def histogram_format(kind: str, var: Global, newline: bool) -> Format:
    """The format that prints a histogram."""
    params: tuple[int, ...] = ()
    if kind == "linear":
        assert var.stats is not None
        assert var.stats.linear is not None
        params = var.stats.linear
    table = Directive(f"hist_{kind}", params=params)
    return Format((table, Directive("", "\n")) if newline else (table,))


@emit.emits_statement(ops.EmitHist)
def _emit(s: Scope, e: ops.EmitHist) -> None:
    b = s.b
    source, count = buckets(s, e.kind, e.var, e.keys, e.pos)
    size = 16 + 8 * count
    item = output.begin_item(s, size)
    b.store(count, item, 8)
    copy_words(s, source, b.at(item, 16), 8 * count)
    output.end_item(s, s.u.format(histogram_format(e.kind, e.var, e.newline)), item, size)


@emit.emits_long(ops.HistGet)
def _get(s: Scope, e: ops.HistGet) -> Value:
    b = s.b
    bucket = emit.long(s, e.bucket)
    source, count = buckets(s, e.kind, e.var, e.keys, e.pos)
    with b.if_(bucket.uge(count)):
        raise_error(s, errors.HISTOGRAM_RANGE, e.pos)
    bucket = b.barrier(bucket)
    index = b.barrier(b.select(bucket.uge(count), 0, bucket))
    return b.load("i64", b.at(source, 0, index, scale=8))
