"""Standard input for scripts that ask for it: each byte is written to a file of theirs."""

from __future__ import annotations

import contextlib
import os

from pystap.session.terminal import TypedInput
from pystap.typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import select

_FILE: Final = "/proc/systemtap/{}/__stdin"  # made by the module when a script asks


class Typed:
    """Hands standard input to the module ``name``, if that has a file for it.

    A terminal gives bytes as they are typed meanwhile.
    """

    def __init__(self, name: str, epoll: select.epoll) -> None:
        self._epoll = epoll
        self._file = -1
        self._input: TypedInput | None = None
        self._is_file = False
        with contextlib.suppress(FileNotFoundError):
            self._file = os.open(_FILE.format(name), os.O_WRONLY | os.O_CLOEXEC)
        if self._file < 0:
            return
        self._input = TypedInput()
        try:
            epoll.register(TypedInput.fd, 1)  # EPOLLIN
        except PermissionError:  # a file or the like: there is always something, or the end
            self._is_file = True

    @property
    def waits(self) -> bool:
        """Whether there is input that no descriptor tells of."""
        return self._input is not None and self._is_file

    def pass_on(self, ready: list[tuple[int, int]]) -> None:
        """Hand over what is there, when ``ready`` or a file says that there is something."""
        if self._input is None:
            return
        if not self._is_file and all(fd != TypedInput.fd for fd, _ in ready):
            return
        data = self._input.read()
        for byte in data:
            os.write(self._file, bytes((byte,)))
        if not data:
            self.close()

    def close(self) -> None:
        """No more; the terminal gets its mode back."""
        if self._input is None:
            return
        os.close(self._file)
        if not self._is_file:
            self._epoll.unregister(TypedInput.fd)
        self._input.close()
        self._input = None
