"""Standard input for scripts that ask for it: each byte is written to a file of theirs."""

from __future__ import annotations

import contextlib
import os

from pystap.typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import select

    from pystap.typing import Any

_FILE: Final = "/proc/systemtap/{}/__stdin"  # made by the module when a script asks
_ROOM: Final = 4096


class Typed:
    """Hands standard input to the module ``name``, if that has a file for it.

    A terminal gives bytes as they are typed meanwhile.
    """

    def __init__(self, name: str, epoll: select.epoll) -> None:
        self._epoll = epoll
        self._file = -1
        self._before: list[Any] | None = None
        self._is_file = False
        with contextlib.suppress(FileNotFoundError):
            self._file = os.open(_FILE.format(name), os.O_WRONLY | os.O_CLOEXEC)
        if self._file < 0:
            return
        self._before = _type_by_byte()
        try:
            epoll.register(0, 1)  # EPOLLIN
        except PermissionError:  # a file or the like: there is always something, or the end
            self._is_file = True

    @property
    def waits(self) -> bool:
        """Whether there is input that no descriptor tells of."""
        return self._file >= 0 and self._is_file

    def pass_on(self, ready: list[tuple[int, int]]) -> None:
        """Hand over what is there, when ``ready`` or a file says that there is something."""
        if self._file < 0 or not (self._is_file or any(fd == 0 for fd, _ in ready)):
            return
        try:
            data = os.read(0, _ROOM)
        except OSError:  # a terminal that is another's now, or has gone
            data = b""
        for byte in data:
            os.write(self._file, bytes((byte,)))
        if not data:
            self.close()

    def close(self) -> None:
        """No more; the terminal gets its mode back."""
        if self._file < 0:
            return
        os.close(self._file)
        self._file = -1
        if not self._is_file:
            self._epoll.unregister(0)
        if self._before is not None:
            import termios

            termios.tcsetattr(0, termios.TCSADRAIN, self._before)


def _type_by_byte() -> list[Any] | None:
    """Let a terminal hand over bytes before the end of the line; its mode before."""
    if not os.isatty(0):
        return None
    import termios

    before = termios.tcgetattr(0)
    mode = termios.tcgetattr(0)
    mode[3] &= ~termios.ICANON
    termios.tcsetattr(0, termios.TCSADRAIN, mode)
    return before
