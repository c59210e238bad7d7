"""Telling a kernel's complaints from its other messages."""

from __future__ import annotations

import re
from collections.abc import Iterable

_COMPLAINT = re.compile(
    r"\bBUG: |\bkernel BUG at |\bOops\b|\bWARNING: |Kernel panic|general protection fault"
    r"|double fault|stack segment:|divide error:|invalid opcode: \d"
    r"|INFO: task .* blocked for more than|soft lockup|hard LOCKUP|self-detected stall"
    r"|detected stalls|detected expedited stalls|Call Trace:|UBSAN: |list_(?:add|del) corruption"
    r"|refcount_t: |circular locking|recursive locking|inconsistent lock state"
    r"|suspicious RCU usage|INFO: possible |sleeping function called|scheduling while atomic"
    r"|Bad page state|bad page map|unregister_netdevice: waiting|page allocation failure"
    r"|Out of memory: |Tainted: "
)


def find(lines: Iterable[str]) -> list[str]:
    """The lines that tell of something wrong in the kernel itself."""
    return [line for line in lines if _COMPLAINT.search(line)]
