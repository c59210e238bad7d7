"""What each aggregate must keep: the extractors, shift and histogram shape the program uses."""

from __future__ import annotations

from pystap.lang import ast
from pystap.lang.tokens import Token
from pystap.lang.visit import walk
from pystap.sema.conditions import distinct_conditions
from pystap.sema.elide import Live
from pystap.sema.program import GlobalSymbol, LocalSymbol
from pystap.sema.work import Work
from pystap.typing import Final

_MOST_SHIFT: Final = 62
_LEAST_BUCKETS: Final = 3  # below start, above stop and one between
_MOST_BUCKETS: Final = 128
_EDGE_BUCKETS: Final = 3


def note_stats(work: Work, live: Live) -> None:
    """Record the uses of aggregates in their symbols; clashes are reported."""
    collector = _Collector(work)
    for owner in live.owners(work):
        if owner.body is not None:
            collector.code(owner.body)
    for condition in distinct_conditions(work):
        collector.code(condition)


class _Collector:
    def __init__(self, work: Work) -> None:
        self._work = work
        self._shift_sites: dict[GlobalSymbol, Token] = {}
        self._linear_sites: dict[GlobalSymbol, Token] = {}
        self._elements: dict[LocalSymbol, GlobalSymbol] = {}

    def code(self, code: ast.Block | ast.Expr) -> None:
        """Collect from one body or condition."""
        for node in walk(code):
            if isinstance(node, ast.Foreach):
                self._foreach(node)
            elif isinstance(node, ast.StatOp):
                symbol = self._stat(node.stat)
                if symbol is not None:
                    symbol.stat_parts.add(node.op)
                    if node.op == "variance":
                        self._variance(symbol, node)
            elif isinstance(node, ast.Histogram):
                symbol = self._stat(node.stat)
                if symbol is not None:
                    symbol.stat_parts.add(f"hist_{node.kind}")
                    if node.kind == "linear":
                        self._linear(symbol, node)

    def _foreach(self, node: ast.Foreach) -> None:
        """A sort needs its operator; the value variable stands for the elements."""
        symbol = self._stat(node.base) if isinstance(node.base, ast.Name) else None
        if symbol is None or symbol.type != "stats":
            return
        if node.sort and node.sort_column == 0:
            node.sort_op = node.sort_op or "count"
            symbol.stat_parts.add(node.sort_op)
        if node.value is not None and isinstance(node.value.symbol, LocalSymbol):
            self._elements[node.value.symbol] = symbol

    def _stat(self, expr: ast.Expr) -> GlobalSymbol | None:
        base = expr.base if isinstance(expr, ast.Index) else expr
        symbol = base.symbol if isinstance(base, ast.Name) else None
        if isinstance(symbol, LocalSymbol):
            return self._elements.get(symbol)
        return symbol if isinstance(symbol, GlobalSymbol) else None

    def _variance(self, symbol: GlobalSymbol, node: ast.StatOp) -> None:
        shift = node.params[0] if node.params else 0
        if not 0 <= shift <= _MOST_SHIFT:
            self._work.error(f"bit shift out of range (0..{_MOST_SHIFT})", node.tok)
            return
        if symbol.stat_shift is None:
            symbol.stat_shift = shift
            self._shift_sites[symbol] = node.tok
        elif symbol.stat_shift != shift:
            self._work.error(
                f"conflicting bit shifts for @variance ({shift} vs. {symbol.stat_shift})",
                node.tok,
                self._shift_sites.get(symbol),
            )

    def _linear(self, symbol: GlobalSymbol, node: ast.Histogram) -> None:
        start, stop, step = node.params
        if step <= 0:
            self._work.error("histogram step must be positive", node.tok)
            return
        if stop < start:
            self._work.error("histogram stop lies below its start", node.tok)
            return
        buckets = (stop - start) // step + _EDGE_BUCKETS
        if not _LEAST_BUCKETS <= buckets <= _MOST_BUCKETS:
            self._work.error(
                f"histogram has {buckets} buckets, at most {_MOST_BUCKETS} are possible",
                node.tok,
                hint="choose a larger step",
            )
        elif symbol.stat_linear is None:
            symbol.stat_linear = (start, stop, step)
            self._linear_sites[symbol] = node.tok
        elif symbol.stat_linear != (start, stop, step):
            self._work.error(
                "conflicting parameters of @hist_linear for one variable",
                node.tok,
                self._linear_sites.get(symbol),
            )
