"""How a statement can end."""

from __future__ import annotations

from pystap.typing import Final

NORMAL: Final = 0  # go on with the next one
BREAK: Final = 1
CONTINUE: Final = 2
RETURN: Final = 3
NEXT: Final = 4
