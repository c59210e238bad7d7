"""Reading and writing globals under the rules of locks.

A program may touch a global without a lock (a single commutative update, a session probe), but
not in a way that a lock it holds on that global forbids: that would be a fault of lowering.
"""

from __future__ import annotations

from pystap.backend.reference.arrays import ArrayFullError
from pystap.backend.reference.faults import InterpreterError
from pystap.backend.reference.stats import Aggregate, PerCpuAggregate
from pystap.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pystap.backend.reference.arrays import Key
    from pystap.backend.reference.state import Context
    from pystap.ir.types import Global


def check_read(context: Context, var: Global) -> None:
    """Refuse reading under an update lock."""
    if context.held.get(var.index) == "update":
        raise InterpreterError(f"{var.name} is read under an update lock")


def check_update(context: Context, var: Global) -> None:
    """Refuse a commutative update under a read lock."""
    if context.held.get(var.index) == "read":
        raise InterpreterError(f"{var.name} is updated under a read lock")


def check_write(context: Context, var: Global) -> None:
    """Refuse any other change without a write lock."""
    if context.held.get(var.index, "write") != "write":
        raise InterpreterError(f"{var.name} is written under a {context.held[var.index]} lock")


def check_bound(value: int | str, bound: int, name: str) -> None:
    """Refuse a string longer than lowering promised (``bound`` bytes with NUL, 0: no promise)."""
    if bound and isinstance(value, str) and len(value) >= bound:
        raise InterpreterError(f"string of {len(value)} bytes in {name}, which is bound {bound}")


def check_key(key: Key, var: Global) -> None:
    """Refuse keys longer than lowering promised."""
    for part, bound in zip(key, var.key_bounds):
        check_bound(part, bound, f"a key of {var.name}")


def set_element(context: Context, var: Global, key: Key, value: int | str, position: int) -> None:
    """Store an element; a full array is a run-time error."""
    check_write(context, var)
    check_key(key, var)
    check_bound(value, var.bound, f"an element of {var.name}")
    array = context.state.array(var)
    try:
        array.set(key, value)
    except ArrayFullError:
        raise context.fault(array.overflow_message(), position) from None


def add_to_element(context: Context, var: Global, key: Key, delta: int, position: int) -> int:
    """Old value of an element and room for the new: creates it as 0 when absent."""
    check_update(context, var)
    check_key(key, var)
    array = context.state.array(var)
    try:
        old: int = array.obtain(key, int)
    except ArrayFullError:
        raise context.fault(array.overflow_message(), position) from None
    return old + delta


def sample_target(context: Context, var: Global, key: Key, position: int) -> PerCpuAggregate:
    """The aggregate that ``<<<`` adds to, made when absent."""
    check_update(context, var)
    check_key(key, var)
    spec = var.stats
    if spec is None:
        raise InterpreterError(f"{var.name} is not an aggregate")
    if var.kind == "scalar":
        scalar: PerCpuAggregate = context.state.globals[var.index]
        return scalar
    array = context.state.array(var)
    try:
        element: PerCpuAggregate = array.obtain(key, lambda: PerCpuAggregate(spec))
    except ArrayFullError:
        raise context.fault(array.overflow_message(), position) from None
    return element


def merged(context: Context, var: Global, key: Key) -> Aggregate:
    """The whole of an aggregate; an absent element is an empty one."""
    check_read(context, var)
    if var.stats is None:
        raise InterpreterError(f"{var.name} is not an aggregate")
    found: PerCpuAggregate | None
    if var.kind == "scalar":
        found = context.state.globals[var.index]
    else:
        found = context.state.array(var).get(key, None)
    return found.merged() if found else Aggregate(var.stats)
