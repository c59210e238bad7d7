"""Which system calls a module shows the arguments or results of."""

from __future__ import annotations

from pystap.ir import ops
from pystap.ir.walk import owners, walk, walk_body
from pystap.probes.attach import SyscallEvent
from pystap.probes.syscall_table import POINT_NAME
from pystap.typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pystap.ir.module import Module

_OF_EVENT: Final = (ops.ContextValue, ops.Const, ops.Arith)


def decoded_numbers(module: Module) -> frozenset[int] | None:
    """Numbers of the calls whose arguments or results are wanted as text; None for any."""
    numbers: set[int] = set()
    for node in (n for owner in owners(module) for n in walk_body(owner.body)):
        if isinstance(node, ops.Intrinsic) and node.name in ("syscall_argstr", "syscall_retstr"):
            number = node.args[0]
            if isinstance(number, ops.Const):
                numbers.add(number.value & (POINT_NAME - 1))
            elif all(isinstance(n, _OF_EVENT) for n in walk(number)):
                attached = _attached_numbers(module)
                if attached is None:
                    return None
                numbers |= attached
            else:
                return None
    return frozenset(numbers)


def _attached_numbers(module: Module) -> set[int] | None:
    """Numbers that probes of system calls are for; None when one is for all."""
    events = [p.attach for p in module.probes if isinstance(p.attach, SyscallEvent)]
    if not events or not all(event.numbers for event in events):
        return None
    return {number for event in events for number in event.numbers}
