"""``@entry(expr)`` of return probes: the value an expression had when the function was entered.

A second probe at the entry stores it by thread and nesting depth; the return probe takes it out.
A family whose return probes can do that gives their contexts a method ``entry()``, the context
of the entry.
"""

from __future__ import annotations

from pystap.diag.diagnostic import Diagnostic, DiagnosticError
from pystap.lang import ast
from pystap.lang.tokens import Token
from pystap.lang.visit import clone, same_tree
from pystap.probes.attach import at_entry
from pystap.probes.base import Context, Match
from pystap.probes.core import CoreIntrinsic
from pystap.sema.program import DerivedProbe, GlobalSymbol
from pystap.sema.work import Body
from pystap.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pystap.sema.work import Work


def entry_context(context: Context | None, tok: Token) -> Context:
    """What the entry of a return probe with ``context`` sees.

    Raises ``DiagnosticError`` when that is not the context of a return probe.
    """
    found = None if context is None else context.entry()
    if found is None:
        raise DiagnosticError(
            Diagnostic("semantic error", "@entry is only valid in .return probes", tok)
        )
    return found


class EntryBinder:
    """Collects the ``@entry`` expressions of one handler and makes the probe that fills them.

    Raises ``DiagnosticError`` when the handler is not one of a return probe.
    """

    def __init__(self, work: Work, context: Context | None, tok: Token) -> None:
        entry_context(context, tok)
        self._work = work
        self._tok = tok
        self._saved: list[tuple[ast.Expr, GlobalSymbol, str]] = []
        self._serial = len(work.all_globals)
        self._depth = self._array("depth", keys=1)

    def value(self, expr: ast.Expr, tok: Token) -> ast.Expr:
        """What stands for ``@entry(expr)`` in the return handler: a local set at its start."""
        for known, _, name in self._saved:
            if same_tree(known, expr):
                return ast.Name(tok=tok, name=name)
        symbol = self._array(f"value{len(self._saved)}", keys=2)
        name = f"__{symbol.name}"
        self._saved.append((expr, symbol, name))
        return ast.Name(tok=tok, name=name)

    def finish(self, probe: DerivedProbe, matches: list[Match]) -> None:
        """Complete the return handler and add the entry probe of its matches."""
        from pystap.sema.targets import TargetExpander

        points = [
            (_before_return(text), at_entry(attach)) for m in matches for text, attach in m.points
        ]
        match = Match(points, entry_context(matches[0].context, self._tok))
        body = self._entry_body()
        TargetExpander(self._work, match.context).expand_body(body)
        names = [text for text, _ in points]
        entry_probe = DerivedProbe(
            match,
            probe.definition,
            names[0],
            [names[0], *probe.chain],
            body,
            list(probe.conditions),
            names=names,
            chains=[[name, *probe.chain] for name in names],
            helper=True,
        )
        probe.body.body[:0] = self._return_statements()
        self._work.probes.append(entry_probe)
        self._work.bodies.append(Body(body, entry_probe, match.context))

    # --- synthesized code -----------------------------------------------------------------------

    def _entry_body(self) -> ast.Block:
        """``depth[tid]++`` and ``value[tid, depth[tid]] = expr`` for each expression."""
        statements = [self._do(self._crement("++"))]
        for expr, symbol, _ in self._saved:
            target = self._index(symbol, self._keys())
            statements.append(self._do(self._assign(target, clone(expr))))
        return ast.Block(tok=self._tok, body=list(statements))

    def _return_statements(self) -> list[ast.Stmt]:
        """Take the values of the innermost entry.

        A return whose entry was not seen, because the call was under way when the session began,
        is no hit: a return probe is armed at the entry.
        """
        inner: list[ast.Stmt] = []
        for _, symbol, name in self._saved:
            local = ast.Name(tok=self._tok, name=name)
            inner.append(self._do(self._assign(local, self._index(symbol, self._keys()))))
            inner.append(ast.Delete(tok=self._tok, target=self._index(symbol, self._keys())))
        inner.append(self._do(self._crement("--")))
        depth = self._index(self._depth, [self._thread()])
        at_top = ast.Unary(tok=self._tok, op="!", operand=depth)
        gone = ast.Delete(tok=self._tok, target=self._index(self._depth, [self._thread()]))
        inner.append(ast.If(tok=self._tok, cond=at_top, then=gone, orelse=None))
        return [
            ast.If(
                tok=self._tok,
                cond=self._index(self._depth, [self._thread()]),
                then=ast.Block(tok=self._tok, body=inner),
                orelse=ast.Next(tok=self._tok),
            )
        ]

    def _array(self, role: str, keys: int) -> GlobalSymbol:
        """A hidden array; threads that die inside leave entries, so the oldest give way."""
        name = f"entry{self._serial}_{role}"
        decl = ast.GlobalVar(
            name=name, tok=self._tok, init=None, size=None, wrap=True, private=True
        )
        symbol = GlobalSymbol(name, decl, user=False)
        symbol.keys, symbol.key_site = ["unknown"] * keys, self._tok
        self._work.all_globals.append(symbol)
        return symbol

    def _keys(self) -> list[ast.Expr]:
        """Thread and nesting depth."""
        return [self._thread(), self._index(self._depth, [self._thread()])]

    def _index(self, symbol: GlobalSymbol, keys: list[ast.Expr]) -> ast.Expr:
        base = ast.Name(tok=self._tok, name=symbol.name, symbol=symbol)
        return ast.Index(tok=self._tok, base=base, indexes=list(keys))

    def _crement(self, op: str) -> ast.Expr:
        operand = self._index(self._depth, [self._thread()])
        return ast.Crement(tok=self._tok, op=op, prefix=False, operand=operand)

    def _assign(self, target: ast.Expr, value: ast.Expr) -> ast.Expr:
        return ast.Assign(tok=self._tok, op="=", target=target, value=value)

    def _do(self, expr: ast.Expr) -> ast.Stmt:
        return ast.ExprStmt(tok=self._tok, expr=expr)

    def _thread(self) -> ast.Expr:
        """The thread: by its address, as the idle ones of all CPUs have number 0."""
        return CoreIntrinsic(tok=self._tok, type="long", name="task_current")


def _before_return(text: str) -> str:
    """The entry's probe point for that of a return, with or without ``maxactive``."""
    return text.rpartition(".return")[0]
