"""Globals that scripts write and never read are printed when the session ends.

The printing is an ordinary ``end`` probe for each of them, so one failing does not stop others.
"""

from __future__ import annotations

from pystap.lang import ast
from pystap.lang.tokens import Token
from pystap.probes import registry
from pystap.sema.autocast import note_ctypes
from pystap.sema.elide import Live, is_displayed
from pystap.sema.program import DerivedProbe, GlobalSymbol, LocalSymbol
from pystap.typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pystap.sema.infer import Inference
    from pystap.sema.work import Work

_PARTS: Final = ("count", "min", "max", "sum", "avg")
_FIRST_DECIMAL: Final = (1, 4)  # language version that prints aggregates in decimal


def add_displays(work: Work, live: Live, inference: Inference) -> None:
    """Add the printing probes to the program and their code to the inference."""
    shown = [
        symbol
        for symbol in work.all_globals
        if symbol in live.writes and symbol not in live.reads and is_displayed(work, symbol)
    ]
    if shown:
        note_ctypes(work)
    for symbol in shown:
        printer = _Printer(symbol, inference, _is_decimal(work.options.compatible))
        probe = _end_probe(work, printer)
        inference.add(probe)
        work.probes.append(probe)
        live.reads.add(symbol)


def _is_decimal(compatible: str | None) -> bool:
    if not compatible:
        return True
    parts = [int(p) if p.isdigit() else 0 for p in compatible.split(".")[:2]]
    return tuple(parts) >= _FIRST_DECIMAL


def _end_probe(work: Work, printer: _Printer) -> DerivedProbe:
    tok = printer.tok
    component = ast.PointComponent(name="end", arg=None, tok=tok)
    point = ast.ProbePoint(tok=tok, components=[component])
    family = registry.family("end")
    if family is None:
        raise LookupError("end")
    [match] = family.resolve(point, work.env)
    body = ast.Block(tok=tok, body=[printer.statement()])
    definition = ast.ProbeDef(tok=tok, points=[point], body=body)
    probe = DerivedProbe(match, definition, "end", ["end"], body)
    probe.names, probe.chains = ["end"], [["end"]]
    probe.locals = {local.name: local for local in printer.keys}
    return probe


class _Printer:
    """Makes the statement that prints one global."""

    def __init__(self, symbol: GlobalSymbol, inference: Inference, decimal: bool) -> None:
        self.tok: Token = symbol.decl.tok
        self._symbol = symbol
        self._type = inference.type_of(symbol)
        self._number = "%#d" if decimal else "%#x"
        self.keys = [
            LocalSymbol(f"__key{n}", self.tok, "unknown" if ty == "unknown" else ty)
            for n, ty in enumerate(inference.keys_of(symbol))
        ]

    def statement(self) -> ast.Stmt:
        """The whole printing."""
        if not self.keys:
            return self._scalar()
        return ast.Foreach(
            tok=self.tok,
            keys=[self._local(key) for key in self.keys],
            value=None,
            base=self._base(),
            slice=None,
            sort="-",
            sort_column=0,
            sort_op="count" if self._type == "stats" else None,
            limit=None,
            body=self._line(),
        )

    def _scalar(self) -> ast.Stmt:
        if self._type != "stats":
            return self._line()
        empty = self._printf(f"{self._symbol.name} @count=%#x\n", [self._extract("count")])
        return ast.If(tok=self.tok, cond=self._extract("count"), then=self._line(), orelse=empty)

    def _line(self) -> ast.Stmt:
        """One line: of the scalar, or of the element a loop is at."""
        keys = ",".join('"%#s"' if key.type == "string" else "%d" for key in self.keys)
        name = f"{self._symbol.name}[{keys}]" if self.keys else self._symbol.name
        args: list[ast.Expr] = [self._local(key) for key in self.keys]
        if self._type == "stats":
            parts = " ".join(f"@{part}={self._number}" for part in _PARTS)
            args += [self._extract(part) for part in _PARTS]
            return self._printf(f"{name} {parts}\n", args)
        return self._printf(f"{name}={self._directive()}\n", [*args, self._value()])

    def _directive(self) -> str:
        if self._type == "string":
            return '"%#s"'
        return "%#x" if _is_pointer(self._symbol.ctype) else "%d"

    def _printf(self, text: str, args: list[ast.Expr]) -> ast.Stmt:
        form = ast.String(tok=self.tok, value=text)
        call = ast.Print(tok=self.tok, name="printf", args=args, format=form)
        return ast.ExprStmt(tok=self.tok, expr=call)

    def _extract(self, part: str) -> ast.Expr:
        return ast.StatOp(tok=self.tok, op=part, stat=self._value())

    def _value(self) -> ast.Expr:
        if not self.keys:
            return self._base()
        indexes: list[ast.Expr | None] = [self._local(key) for key in self.keys]
        return ast.Index(tok=self.tok, base=self._base(), indexes=indexes)

    def _base(self) -> ast.Name:
        return ast.Name(tok=self.tok, name=self._symbol.name, symbol=self._symbol)

    def _local(self, key: LocalSymbol) -> ast.Name:
        return ast.Name(tok=self.tok, name=key.name, symbol=key)


def _is_pointer(ctype: object | None) -> bool:
    """Whether a C type is a pointer."""
    if ctype is None:
        return False
    from pystap.debuginfo import btftypes
    from pystap.probes.target import CType

    if not isinstance(ctype, CType):
        return False
    return ctype.pointers > 0 or isinstance(
        ctype.btf.type(ctype.btf.resolve(ctype.type_id)), btftypes.Ptr
    )
