"""Compiles handlers and functions of a module, each once, on first use."""

from __future__ import annotations

from collections.abc import Sequence

from pystap.backend.reference.access import check_bound
from pystap.backend.reference.expressions import compile_expr
from pystap.backend.reference.faults import InterpreterError
from pystap.backend.reference.outcome import NEXT
from pystap.backend.reference.regex import Pattern, PatternError
from pystap.backend.reference.state import Context, Frame
from pystap.backend.reference.statements import compile_block
from pystap.ir import ops
from pystap.ir.types import LocalVar, Ty
from pystap.typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pystap.backend.reference.state import Evaluate
    from pystap.ir.module import Function, Handler, Module


class Scope:
    """What compiling one handler or function needs to know."""

    def __init__(self, compiler: Compiler, variables: Sequence[LocalVar]) -> None:
        self.module = compiler.module
        self.most_bytes = compiler.module.limits.maxstringlen - 1
        self._compiler = compiler
        self._slots = {var.index: slot for slot, var in enumerate(variables)}
        if len(self._slots) != len(variables):
            raise InterpreterError("two locals share an index")
        self.blank = [_blank(var.ty) for var in variables]

    def slot(self, var: LocalVar) -> int:
        """Place of a local in a frame."""
        try:
            return self._slots[var.index]
        except KeyError:
            raise InterpreterError(f"local {var.name} is not declared") from None

    def block(self, body: Sequence[ops.Stmt]) -> Evaluate:
        """Compile statements."""
        return compile_block(self, body)

    def function(self, function: Function) -> CompiledFunction:
        """The compiled form of a function of the module."""
        return self._compiler.function(function)

    def regex(self, index: int) -> Pattern:
        """The automaton of a pattern of the module."""
        return self._compiler.regex(index)


class CompiledFunction:
    """A function; its body is compiled when it is first called (functions may be recursive)."""

    def __init__(self, compiler: Compiler, function: Function) -> None:
        self._compiler = compiler
        self._function = function
        self._scope: Scope | None = None
        self._body: Evaluate | None = None

    def run(self, context: Context, args: Sequence[Any]) -> tuple[bool, Any]:
        """Call it: whether it ended other than by ``next``, and the result."""
        scope, body = self._prepared()
        for value, param in zip(args, self._function.params):
            check_bound(value, param.bound, param.name)
        frame = Frame(context, [*args, *scope.blank[len(args) :]])
        outcome = body(frame)
        result = _blank(self._function.result) if frame.result is None else frame.result
        check_bound(result, self._function.bound, f"the result of {self._function.name}")
        return outcome != NEXT, result

    def _prepared(self) -> tuple[Scope, Evaluate]:
        if self._scope is None or self._body is None:
            function = self._function
            extra = [v for v in function.locals if v not in function.params]
            self._scope = Scope(self._compiler, [*function.params, *extra])
            self._body = self._scope.block(function.body)
        return self._scope, self._body


class CompiledHandler:
    """A handler body."""

    def __init__(self, compiler: Compiler, handler: Handler) -> None:
        self._scope = Scope(compiler, handler.locals)
        self._body = self._scope.block(handler.body)

    def run(self, context: Context) -> None:
        """Run it to its end."""
        self._body(Frame(context, self._scope.blank.copy()))


class Compiler:
    """Compiled parts of a module."""

    def __init__(self, module: Module) -> None:
        self.module = module
        self._functions: dict[int, CompiledFunction] = {}
        self._handlers: dict[int, CompiledHandler] = {}
        self._conditions: dict[int, Evaluate] = {}
        self._regexes: dict[int, Pattern] = {}

    def function(self, function: Function) -> CompiledFunction:
        """A function, compiled."""
        found = self._functions.get(id(function))
        if found is None:
            found = self._functions[id(function)] = CompiledFunction(self, function)
        return found

    def handler(self, index: int) -> CompiledHandler:
        """A handler by its index in ``Module.handlers``, compiled."""
        found = self._handlers.get(index)
        if found is None:
            found = CompiledHandler(self, self.module.handlers[index])
            self._handlers[index] = found
        return found

    def condition(self, index: int) -> Evaluate:
        """A probe condition by its index in ``Module.conditions``, compiled."""
        found = self._conditions.get(index)
        if found is None:
            found = compile_expr(Scope(self, []), self.module.conditions[index])
            self._conditions[index] = found
        return found

    def regex(self, index: int) -> Pattern:
        """A pattern by its index in ``Module.regexes``, compiled."""
        found = self._regexes.get(index)
        if found is None:
            text = self.module.regexes[index].pattern
            try:
                found = self._regexes[index] = Pattern(text)
            except PatternError as error:
                raise InterpreterError(f"pattern {text!r}: {error}") from None
        return found


def _blank(ty: Ty) -> int | str:
    return "" if ty is Ty.STR else 0
