"""String bounds: how many bytes, NUL included, each string variable can need at most.

A whole-program least fixed point: every bound starts at 1 (the empty string) and is raised to
what is stored.  The bound of a key part covers every value the array is used with, look-ups
too, so a runtime may copy keys into place without looking at their length.  Variables that still
grow after a few rounds (``s = s . "x"`` in a loop) get MAXSTRINGLEN.
"""

from __future__ import annotations

from pystap.ir import ops
from pystap.ir.intrinsics import INTRINSICS
from pystap.ir.module import Function, Module
from pystap.ir.types import Global, LocalVar, Ty
from pystap.ir.walk import Node, owners, walk_body
from pystap.output.formats import STAR, Directive
from pystap.typing import Final

_ROUNDS: Final = 8  # after that, growing bounds jump to the limit
_DIGITS: Final = {"d": 19, "u": 20, "o": 22, "x": 16, "X": 16, "p": 16, "b": 8}
_PREFIX: Final = {"d": 1, "p": 2}  # sign, 0x
_BASE_PREFIX: Final = {"o": 1, "x": 2, "X": 2}  # of the # form
_MAX_ESCAPE: Final = 4  # bytes that one byte of a string takes when escaped

_Variable = LocalVar | Function | Global


def infer_bounds(module: Module) -> None:
    """Set the bounds of all string locals, parameters, results, globals and keys."""
    inference = _Inference(module)
    inference.start()
    for _ in range(_ROUNDS):
        if not inference.round():
            return
    inference.widen = True
    while inference.round():
        pass


class Sizes:
    """Sizes of string expressions by the bounds that variables have at the moment."""

    def __init__(self, module: Module) -> None:
        self.limit = module.limits.maxstringlen
        self.points = 1 + max((len(p.point) for p in module.probes), default=0)
        self.names = 1 + max((len(p.name) for p in module.probes), default=0)
        self.most = _constant_parameters(module)

    def bound(self, expr: ops.Expr) -> int:
        """Bytes a string value can need once it is cut to MAXSTRINGLEN."""
        return min(self.size(expr), self.limit)

    def size(self, expr: ops.Expr) -> int:
        """Bytes a string value can need, the limit not applied."""
        match expr:
            case ops.StrConst(text):
                return len(text) + 1
            case ops.Local(var):
                return var.bound
            case ops.GlobalGet(g) | ops.MapGet(g):
                return g.bound
            case ops.Cond(_, yes, no):
                return max(self.bound(yes), self.bound(no))
            case ops.Concat(parts):
                return 1 + sum(self.bound(p) - 1 for p in parts)
            case ops.Seq(_, value):
                return self.bound(value)
            case ops.Call(targets):
                return max(t.bound for t in targets)
            case ops.Sprint(fmt, args):
                return self._formatted(fmt.directives, args)
            case ops.Intrinsic():
                return self._intrinsic(expr)
            case _:
                return self.limit

    def _intrinsic(self, expr: ops.Intrinsic) -> int:
        """An intrinsic's result; some depend on their arguments."""
        args = expr.args
        match expr.name:
            case "pp" | "ppfunc":
                return self.points
            case "pn":
                return self.names
            case "substr":
                return min(self.bound(args[0]), self._count(args[2]))
            case "kernel_string" | "user_string" | "kernel_bytes" | "user_bytes":
                return self._count(args[1])
            case "kernel_string_or" | "user_string_or":
                return max(self._count(args[1]), self.bound(args[2]))
            case "tokenize":
                return self.limit if self.bound(args[0]) == 1 else self.bound(args[0])
            case "text_str":
                return 1 + _MAX_ESCAPE * (self.bound(args[0]) - 1)
            case name:
                return INTRINSICS[name].bound or self.limit

    def _count(self, expr: ops.Expr) -> int:
        """Bytes for a string of at most ``expr`` characters."""
        match expr:
            case ops.Const(value):
                return max(value, 0) + 1
            case ops.Local(var) if var in self.most:
                return max(self.most[var], 0) + 1
            case _:
                return self.limit

    def _formatted(self, directives: tuple[Directive, ...], args: list[ops.Expr]) -> int:
        """What a format can make."""
        total = 1
        rest = iter(args)
        for d in directives:
            if not d.conv:
                total += len(d.text)
                continue
            stars = (d.width == STAR) + (d.precision == STAR)
            for _ in range(stars):
                next(rest)
            value = next(rest)
            if stars:
                return self.limit + 1  # anything, before it is cut
            total += self._converted(d, value)
        return total

    def _converted(self, d: Directive, value: ops.Expr) -> int:
        """Bytes one conversion can make."""
        precision = d.precision or 0
        if d.conv in ("s", "m", "M"):
            size = self.bound(value) - 1
            if d.precision is not None:
                size = min(size, d.precision)
            if d.conv == "M":
                size *= 2
            elif d.flag == "#":
                size *= _MAX_ESCAPE
        elif d.conv == "c":
            size = _MAX_ESCAPE if d.flag == "#" else 1
        else:
            size = max(_DIGITS[d.conv], precision) + _PREFIX.get(d.conv, 0)
            if d.flag == "#":
                size += _BASE_PREFIX.get(d.conv, 0)
        return max(size, d.width or 0)


def _constant_parameters(module: Module) -> dict[LocalVar, int]:
    """Greatest values of the number parameters that are only ever given literals."""
    most: dict[LocalVar, int] = {}
    unknown: set[LocalVar] = set()
    for owner in owners(module):
        for node in walk_body(owner.body):
            match node:
                case ops.Call(targets, args):
                    for target in targets:
                        for param, arg in zip(target.params, args):
                            if isinstance(arg, ops.Const):
                                most[param] = max(most.get(param, arg.value), arg.value)
                            else:
                                unknown.add(param)
                case ops.SetLocal(var) | ops.ForeachHist(bucket=var):
                    unknown.add(var)
                case ops.Foreach(keys=keys, value=value):
                    unknown.update(keys, [value] if value else [])
                case _:
                    pass
    return {param: value for param, value in most.items() if param not in unknown}


class _Inference:
    """One run over a module."""

    def __init__(self, module: Module) -> None:
        self.module = module
        self.sizes = Sizes(module)
        self.limit = module.limits.maxstringlen
        self.widen = False
        self.changed = False
        self.nodes: list[tuple[Node, Function | None]] = []
        for function in module.functions:
            self.nodes += [(n, function) for n in walk_body(function.body)]
        for handler in module.handlers:
            self.nodes += [(n, None) for n in walk_body(handler.body)]

    def start(self) -> None:
        """The least bounds."""
        for g in self.module.globals:
            g.key_bounds = tuple(1 if k is Ty.STR else 0 for k in g.keys)
            g.bound = len(g.init) + 1 if isinstance(g.init, str) else 0
            if g.value is Ty.STR:
                g.bound = self.limit if g.settable else min(max(g.bound, 1), self.limit)
        for owner in owners(self.module):
            for var in owner.locals:
                var.bound = 1 if var.ty is Ty.STR else 0
        for function in self.module.functions:
            function.bound = 1 if function.result is Ty.STR else 0

    def round(self) -> bool:
        """Look at every store once; whether a bound has changed."""
        self.changed = False
        for node, function in self.nodes:
            self._visit(node, function)
        return self.changed

    def _visit(self, node: Node, function: Function | None) -> None:
        match node:
            case ops.SetLocal(var, value):
                self._raise(var, var.ty, value)
            case ops.SetGlobal(g, value):
                self._raise(g, g.value, value)
            case ops.SetMap(g, keys, value):
                self._raise(g, g.value, value)
                self._raise_keys(g, keys)
            case ops.MapGet(g, keys) | ops.MapHas(g, keys) | ops.DeleteMap(g, keys):
                self._raise_keys(g, keys)
            case ops.AddMap(g, keys) | ops.StatAdd(g, keys) | ops.StatGet(_, g, keys):
                self._raise_keys(g, keys)
            case ops.HistGet(_, g, keys) | ops.SprintHist(_, g, keys) | ops.EmitHist(_, g, keys):
                self._raise_keys(g, keys)
            case ops.ForeachHist(_, g, keys):
                self._raise_keys(g, keys)
            case ops.Foreach():
                self._foreach(node)
            case ops.Call(targets, args):
                for target in targets:
                    for param, arg in zip(target.params, args):
                        self._raise(param, param.ty, arg)
            case ops.CBody() | ops.CExpr():
                self._in_c(node, function)
            case ops.Return(value) if value is not None and function is not None:
                self._raise(function, function.result, value)
            case ops.Try(var=caught) if caught is not None:
                self._raise_to(caught, self.limit)
            case _:
                pass

    def _in_c(self, node: ops.CBody | ops.CExpr, function: Function | None) -> None:
        """What C text gets, gives and changes has any length."""
        filled = [v for f in node.accessors.values() for v in f.params]
        if isinstance(node, ops.CBody) and function is not None:
            filled += [] if node.keeps_parameters else function.params
            if function.result is Ty.STR:
                self._raise_to(function, self.limit)
        for var in filled:
            if var.ty is Ty.STR:
                self._raise_to(var, self.limit)

    def _foreach(self, node: ops.Foreach) -> None:
        if node.slice is not None:
            self._raise_keys(node.var, node.slice)
        for var, bound in zip(node.keys, node.var.key_bounds):
            self._raise_to(var, bound)
        if node.value is not None:
            self._raise_to(node.value, node.var.bound)

    def _raise_keys(self, g: Global, keys: list[ops.Expr] | list[ops.Expr | None]) -> None:
        bounds = tuple(
            old if key is None or ty is not Ty.STR else max(old, self.sizes.bound(key))
            for old, key, ty in zip(g.key_bounds, keys, g.keys)
        )
        if bounds != g.key_bounds:
            self.changed = True
            if self.widen:
                pairs = zip(bounds, g.key_bounds)
                bounds = tuple(self.limit if b > old else b for b, old in pairs)
            g.key_bounds = bounds

    def _raise(self, var: _Variable, ty: Ty, value: ops.Expr) -> None:
        if ty is Ty.STR:
            self._raise_to(var, self.sizes.bound(value))

    def _raise_to(self, var: _Variable, bound: int) -> None:
        if bound > var.bound:
            var.bound = self.limit if self.widen else bound
            self.changed = True
