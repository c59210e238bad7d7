"""What a script uses that this runtime does not have, as errors before anything is compiled."""

from __future__ import annotations

from pystap.backend.kmod.attach import unserved
from pystap.backend.kmod.intrinsics import is_known
from pystap.diag.diagnostic import Diagnostic, DiagnosticError
from pystap.ir import ops
from pystap.ir.module import Module
from pystap.ir.walk import owners, walk_body


def check_module(module: Module) -> None:
    """Raise DiagnosticError for the first thing that the kernel-module runtime cannot do."""
    for probe in module.probes:
        if unserved(probe.attach):
            raise _error(f"the kernel runtime cannot attach probe {probe.point}")
    for owner in owners(module):
        for node in walk_body(owner.body):
            if isinstance(node, ops.Intrinsic) and not is_known(node.name):
                raise _error(f"the kernel runtime has no function '{node.name}'")


def _error(message: str) -> DiagnosticError:
    return DiagnosticError(
        Diagnostic("semantic error", message, hint="use the bpf runtime: --runtime=bpf")
    )
