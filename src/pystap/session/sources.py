"""What wakes a session up besides output: descriptors with something behind them to be served."""

from __future__ import annotations

from pystap.typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import select


class Source(Protocol):
    """Something to be served when its descriptor is readable."""

    @property
    def fd(self) -> int:
        """The descriptor."""
        ...

    def serve(self) -> bool:
        """Serve what is there; false when there will be no more."""
        ...

    def close(self) -> None:
        """The session is over."""
        ...


class Sources:
    """The sources of a session; ``epoll`` is what it waits on."""

    def __init__(self, sources: list[Source], epoll: select.epoll) -> None:
        self._epoll = epoll
        self._by_fd: dict[int, Source] = {}
        self._always: list[Source] = []  # those that can be read at any time, such as files
        for source in sources:
            try:
                epoll.register(source.fd, 1)
                self._by_fd[source.fd] = source
            except PermissionError:
                self._always.append(source)

    def serve(self, ready: list[tuple[int, int]]) -> None:
        """Serve those that ``epoll`` found ready."""
        self._always = [source for source in self._always if source.serve()]
        for fd, _ in ready:
            source = self._by_fd.get(fd)
            if source is not None and not source.serve():
                self._epoll.unregister(fd)
                del self._by_fd[fd]

    @property
    def waiting(self) -> bool:
        """Whether there is something to serve without waiting."""
        return bool(self._always)
