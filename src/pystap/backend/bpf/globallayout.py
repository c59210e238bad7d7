"""Where scalar globals are in their map."""

from __future__ import annotations

from pystap.backend.bpf.layout import encode, round_up
from pystap.ir.types import Global, Ty


class GlobalLayout:
    """Offsets in the map of scalars: longs first, then strings, then internal words."""

    __slots__ = ("content", "offsets")

    def __init__(self, variables: list[Global], max_string: int) -> None:
        self.offsets: dict[int, int] = {}
        self.content = bytearray()
        scalars = [g for g in variables if g.kind == "scalar" and g.stats is None]
        for var in scalars:
            if var.value is not Ty.STR:
                assert isinstance(var.init, int)
                self.offsets[var.index] = self.add(
                    (var.init & (1 << 64) - 1).to_bytes(8, "little")
                )
        for var in scalars:
            if var.value is Ty.STR:
                size = min(var.bound or max_string, max_string)
                data = encode(str(var.init or ""), size)
                self.offsets[var.index] = self.add(data.ljust(round_up(size), b"\0"))

    def add(self, content: bytes) -> int:
        """Offset of further words with this content."""
        at = len(self.content)
        self.content += content
        return at
