"""Stacks (scripted events have none), and names of kernel addresses."""

from __future__ import annotations

from functools import lru_cache

from pystap.typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from pystap.backend.reference.state import Context
    from pystap.debuginfo.kallsyms import Kallsyms
    from pystap.ir.ops import Intrinsic


@lru_cache(maxsize=1)
def _symbols() -> Kallsyms:
    from pystap.debuginfo.kallsyms import Kallsyms

    return Kallsyms()


def _symbol(_context: Context, op: Intrinsic, address: int) -> str:
    address &= (1 << 64) - 1
    found = _symbols().lookup(address)
    if found is None:
        return f"{address:#x}"
    module = f" [{found.module}]" if found.module else ""
    place = f"+{found.offset:#x}/{found.size:#x}" if op.name.endswith("data") else ""
    return f"{found.name}{place}{module}"


IMPLEMENTATIONS: Final[dict[str, Callable[..., Any]]] = {
    "stack_frame": lambda _context, _op, _number: 0,
    "user_frames": lambda _context, _op: 0,
    "user_frames_from": lambda _context, _op, _pc, _sp, _fp: 0,
    "user_frame": lambda _context, _op, _number: 0,
    # nor have they programs whose symbols could be known
    "user_place": lambda _context, _op, _address, _back: 0,
    "user_number": lambda _context, _op: 0,
    "user_text": lambda _context, _op: "",
    "user_inlined": lambda _context, _op: 0,
    "kernel_symbol": _symbol,
    "kernel_symbol_data": _symbol,
}
