"""What is done about scripts that are too large for BPF: a second way to compile them, and words.

Where calls and loops nest deeper than the kernel's frames, every function that calls or loops is
made part of one machine (see :mod:`recursion`), which runs them without nesting, and so is the
body of every handler that does.  That is slower: only modules that do not fit otherwise get it.
"""

from __future__ import annotations

from pystap.backend.bpf.stack import MOST_BYTES, MOST_FRAMES, MOST_FUNCTIONS, MOST_MAPS
from pystap.diag.diagnostic import Diagnostic, DiagnosticError
from pystap.ir import ops
from pystap.ir.module import Function
from pystap.ir.types import Ty
from pystap.ir.walk import blocks, callees, walk_body
from pystap.typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pystap.backend.bpf.artifact import Artifact
    from pystap.backend.bpf.stack import Misfit
    from pystap.backend.bpf.unit import Unit
    from pystap.ir.module import Handler, Module
    from pystap.ir.probe import Probe
    from pystap.ir.types import Global

    Locks = list[tuple[Global, ops.LockMode]]

_LOOPS: Final = (ops.Loop, ops.Foreach, ops.ForeachHist)


def refusal(artifact: Artifact, misfit: Misfit) -> DiagnosticError:
    """The error for a program that needs more than the kernel gives one."""
    frames, size, functions, maps = misfit.extent
    where = _name(artifact.probes[misfit.probe])
    if maps > MOST_MAPS:
        message = (
            f"{where} uses {maps} maps (one for each array, and more), BPF allows {MOST_MAPS}"
        )
        hint = "use fewer arrays there: make one of several by another key"
    elif functions > MOST_FUNCTIONS:
        message = f"{where} has {functions} functions and loops, BPF allows {MOST_FUNCTIONS}"
        hint = "move some of them to another probe"
    elif frames > MOST_FRAMES:
        message = f"{where} nests loops and calls {frames} deep, BPF allows {MOST_FRAMES}"
        hint = "use fewer loops inside one another, or move some of them to another probe"
    else:
        message = f"{where} needs {size} bytes of stack, BPF has {MOST_BYTES}"
        hint = "split large expressions: assign parts of them to variables"
    return DiagnosticError(Diagnostic("semantic error", message, hint=hint))


def not_compiled(unit: Unit, reason: str) -> DiagnosticError:
    """The error for a module that LLVM gave up; the largest handler is named."""
    module = unit.module
    probe = max(module.probes, key=lambda p: unit.analysis.facts(module.handlers[p.handler]).size)
    message = f"the code of this script cannot be compiled for BPF ({reason})"
    note = f"its largest handler: {_name(probe)}"
    hint = "split the handler: move parts of it to functions or to other probes"
    return DiagnosticError(Diagnostic("semantic error", message, notes=[note], hint=hint))


def _name(probe: Probe) -> str:
    return f"probe {probe.point} at {probe.origin}"


def deepen(module: Module) -> None:
    """Rewrite the module in place."""
    for function in module.functions:
        if callees(function.body) or _loops(function.body):
            function.recursive = True
    for handler in module.handlers:
        if callees(handler.body) or _loops(handler.body):
            module.functions.append(_as_function(handler))
    module.limits.maxnesting += 1  # for the calls of these


def _loops(body: list[ops.Stmt]) -> bool:
    return any(isinstance(node, _LOOPS) for node in walk_body(body))


def _as_function(handler: Handler) -> Function:
    """Make a handler the call of a function with its body."""
    made = Function(f"handler.{handler.index}", [], Ty.VOID, recursive=True)
    made.locals, handler.locals = handler.locals, []
    locks = _without_locks(handler.body)
    made.body = handler.body
    _end_by_return(made.body)
    handler.body = [ops.Eval(ops.Call([made], [], -1))]
    if locks:
        handler.body = [ops.Locked(locks, handler.body)]
    return made


def _without_locks(body: list[ops.Stmt]) -> Locks:
    """Replace the region with locks, if there is one, by what is in it; its locks."""
    for block in _every_block(body):
        for i, stmt in enumerate(block):
            if isinstance(stmt, ops.Locked):
                block[i : i + 1] = stmt.body
                return stmt.locks
    return []


def _end_by_return(body: list[ops.Stmt]) -> None:
    """``next`` ends a handler; in a function it would mean something else."""
    for block in _every_block(body):
        for i, stmt in enumerate(block):
            if isinstance(stmt, ops.Next):
                block[i] = ops.Return(None)


def _every_block(body: list[ops.Stmt]) -> list[list[ops.Stmt]]:
    return [body, *(block for node in walk_body(body) for block in blocks(node))]
