"""Run-time errors as the user reads them."""

from __future__ import annotations

from collections.abc import Sequence

from pystap.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pystap.backend.reference.faults import RuntimeFault
    from pystap.ir.module import Position, Probe


def runtime_error(fault: RuntimeFault, probe: Probe, positions: Sequence[Position]) -> str:
    """``ERROR: MSG near TOKEN at PLACE (called from ...) in probe POINT``; without a position
    only the message."""
    text = f"ERROR: {fault.message}"
    if fault.position < 0:
        return text
    text += f" near {positions[fault.position].text()}"
    for caller in fault.callers:
        text += f" (called from {positions[caller].text()})"
    return f"{text} in probe {probe.point}"
