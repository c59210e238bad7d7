"""Aggregates: samples, extractors and histograms as C."""

from __future__ import annotations

from pystap.backend.kmod import keys
from pystap.ir import ops
from pystap.ir.types import Global
from pystap.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pystap.backend.kmod.writer import Writer


def add(w: Writer, stmt: ops.StatAdd) -> None:
    """``<<<``."""
    from pystap.backend.kmod.expressions import long_of

    name = w.unit.global_name(stmt.var)
    if not stmt.keys:
        w.line(f"stap_scalar_stat_add(&{name}, {long_of(w, stmt.value)});")
        return
    key, _ = keys.make_key(w, stmt.var, stmt.keys)
    value = long_of(w, stmt.value)
    spec = w.unit.spec_name(stmt.var)
    done = w.temp(f"stap_map_stat_add(&{name}, &{spec}, {key}, {value})", "bool")
    keys.overflow(w, stmt.var, f"!{done}", stmt.pos)


def read(w: Writer, var: Global, parts: Sequence[ops.Expr]) -> str:
    """A C variable that points to the whole aggregate, perhaps NULL when empty."""
    if var.kind == "array":
        return keys.find(w, var, parts)
    return w.temp(f"stap_scalar_stat_read(&{w.unit.global_name(var)})", "struct stap_aggregate *")


def extract(w: Writer, expr: ops.StatGet) -> str:
    """An extractor."""
    found = read(w, expr.var, expr.keys)
    if expr.op not in ("count", "sum"):
        _check_present(w, found, expr.pos)
    spec = w.unit.spec_name(expr.var)
    return w.temp(f"stap_stat_extract(&{spec}, {found}, STAP_STAT_{expr.op.upper()})")


def _check_present(w: Writer, found: str, position: int) -> None:
    w.line(f"if (!stap_stat_present(c, {found}, {position})) {w.goto(w.fault_label())}")


def bucket(w: Writer, expr: ops.HistGet) -> str:
    """The count of a bucket."""
    from pystap.backend.kmod.expressions import long_of

    found = read(w, expr.var, expr.keys)
    index = w.temp(long_of(w, expr.bucket))
    _check_present(w, found, expr.pos)
    spec = w.unit.spec_name(expr.var)
    count = _bucket_count(expr.kind, spec)
    with w.block(f"if ({index} < 0 || {index} >= {count})"):
        w.line(f'stap_fault(c, {expr.pos}, "histogram index out of range");')
        w.line(w.goto(w.fault_label()))
    return w.temp(f"{_buckets(expr.kind, spec, found)}[{index}]")


def _bucket_count(kind: str, spec: str) -> str:
    return "STAP_LOG_BUCKETS" if kind == "log" else f"{spec}.linear"


def _buckets(kind: str, spec: str, found: str) -> str:
    return f"{found}->buckets" if kind == "log" else f"stap_stat_linear(&{spec}, {found})"


def sprint_histogram(w: Writer, expr: ops.SprintHist, to: str, size: str) -> None:
    """A histogram as a string."""
    found = read(w, expr.var, expr.keys)
    _check_present(w, found, expr.pos)
    with w.block(""):
        w.line(f"struct stap_sink s = stap_sink_of({to}, {size});")
        _put(w, expr, found, "&s")
        w.line("stap_sink_close(&s);")


def print_histogram(w: Writer, stmt: ops.EmitHist) -> None:
    """A histogram printed."""
    found = read(w, stmt.var, stmt.keys)
    _check_present(w, found, stmt.pos)
    _put(w, stmt, found, "&c->out")


def _put(w: Writer, node: ops.SprintHist | ops.EmitHist, found: str, sink: str) -> None:
    spec = w.unit.spec_name(node.var)
    log = "true" if node.kind == "log" else "false"
    w.line(f"stap_put_histogram({sink}, &{spec}, {found}, {log});")
    if node.newline:
        w.line(f'stap_put_text({sink}, "\\n");')


def bucket_range(w: Writer, stmt: ops.ForeachHist) -> str:
    """The number of buckets of a loop over them; an empty aggregate is an error."""
    found = read(w, stmt.stat, stmt.stat_keys)
    _check_present(w, found, stmt.pos)
    return w.temp(_bucket_count(stmt.kind, w.unit.spec_name(stmt.stat)))
