"""Prints the parts of a joined string instead of joining them first.

``emit "%s\\n", (a . sprint("%d", n))`` becomes ``emit "%s%d\\n", a, n``: the handler then copies
less and keeps no temporary.  Only where the joined string could not have been cut.
"""

from __future__ import annotations

from pystap.ir import ops
from pystap.ir.bounds import Sizes
from pystap.ir.effects import Summaries, summarise
from pystap.ir.module import Module
from pystap.ir.walk import owners, walk_body
from pystap.output.formats import STAR, Directive, Format
from pystap.typing import Final

_PLAIN: Final = Directive("s")
_MOST_ARGS: Final = 32
_MAY_END_EARLY: Final = ("c", "b", "m")  # a zero byte ends a string but not a printed line


def splice_text(module: Module) -> None:
    """Rewrite every ``Emit`` and ``Sprint``; needs string bounds."""
    sizes, summaries = Sizes(module), summarise(module)
    for owner in owners(module):
        for node in list(walk_body(owner.body)):
            if isinstance(node, (ops.Emit, ops.Sprint)):
                _Splicer(sizes, summaries).run(node)


class _Splicer:
    """Rewrites one format."""

    def __init__(self, sizes: Sizes, summaries: Summaries) -> None:
        self.sizes = sizes
        self.summaries = summaries
        self.directives: list[Directive] = []
        self.args: list[ops.Expr] = []

    def run(self, node: ops.Emit | ops.Sprint) -> None:
        """Rewrite ``node`` if anything in it can be spliced."""
        if not any(isinstance(a, (ops.Concat, ops.Sprint)) for a in node.args):
            return
        self.format(node.format, node.args)
        if len(self.args) <= _MOST_ARGS:
            node.format = Format(tuple(self.directives))
            node.args = self.args

    def format(self, fmt: Format, args: list[ops.Expr]) -> None:
        """Directives with their arguments, spliced."""
        at = 0
        for d in fmt.directives:
            if not d.conv:
                self.text(d.text)
                continue
            count = 1 + (d.width == STAR) + (d.precision == STAR)
            taken = args[at : at + count]
            at += count
            if d == _PLAIN and self.still_safe(taken[0], args[at:]):
                self.string(taken[0])
            else:
                self.directives.append(d)
                self.args += taken

    def still_safe(self, arg: ops.Expr, later: list[ops.Expr]) -> bool:
        """Whether a string can be taken apart: never cut, and its parts do not change."""
        if (
            not isinstance(arg, (ops.Concat, ops.Sprint))
            or self.sizes.size(arg) > self.sizes.limit
        ):
            return False
        if isinstance(arg, ops.Sprint) and any(
            d.conv in _MAY_END_EARLY for d in arg.format.directives
        ):
            return False
        effects = self.summaries.of(later)
        return not (effects.updates or effects.writes or effects.locals_set)

    def string(self, arg: ops.Expr) -> None:
        """The parts of one string."""
        match arg:
            case ops.Sprint(fmt, args):
                self.format(fmt, args)
            case ops.Concat(parts):
                directives: list[Directive] = []
                args = []
                for part in parts:
                    if isinstance(part, ops.StrConst):
                        directives.append(Directive("", part.value))
                    else:
                        directives.append(_PLAIN)
                        args.append(part)
                self.format(Format(tuple(directives)), args)
            case _:
                raise TypeError(f"not a joined string: {arg!r}")

    def text(self, text: str) -> None:
        """Literal text, joined with literal text before it."""
        if self.directives and not self.directives[-1].conv:
            text = self.directives.pop().text + text
        self.directives.append(Directive("", text))
