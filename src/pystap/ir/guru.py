"""What only a kernel module can do."""

from __future__ import annotations

from pystap.ir import ops
from pystap.ir.module import Module
from pystap.ir.walk import Node, owners, walk_body


def needs_module(module: Module) -> str:
    """What of a script only a module can do, with its place; "" when there is nothing."""
    for text in module.c_texts:
        return f"embedded C, at {text.source}:{text.line}:{text.column}"
    for owner in owners(module):
        for node in walk_body(owner.body):
            what, pos = _only_there(node)
            if what:
                return f"{what}: {module.positions[pos].text()}"
    return ""


def _only_there(node: Node) -> tuple[str, int]:
    match node:
        case ops.CBody(pos=pos) | ops.CExpr(pos=pos):
            return "embedded C", pos
        case ops.Store(space="kernel", pos=pos):
            return "writes to the kernel's memory", pos
        case ops.SetContext(pos=pos):
            return "writes to registers", pos
        case ops.Intrinsic(name="set_verdict", pos=pos):
            return "changes of a packet's verdict", pos
        case _:
            return "", -1
