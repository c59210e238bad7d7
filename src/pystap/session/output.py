"""Where a session's output goes, and what control items in it do."""

from __future__ import annotations

import os

from pystap.output.formats import ITEM_ERROR, ITEM_EXIT, ITEM_SYSTEM, ITEM_WARN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

    from pystap.backend.bpf.artifact import Artifact
    from pystap.kernel.ringbuf import RingBuffer


class OutputFileError(Exception):
    """The file of ``-o`` cannot be opened; the message says which and why."""


def open_output(path: str | None) -> int:
    """Descriptor for ``-o FILE`` (strftime conversions expanded), or standard output."""
    if path is None:
        return 1
    if "%" in path:
        import time

        path = time.strftime(path)
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise OutputFileError(f"cannot open output file '{path}': {error.strerror}") from error


class Output:
    """Drains the ring buffer into a descriptor; errors and warnings go to standard error."""

    def __init__(
        self,
        ring: RingBuffer,
        artifact: Artifact,
        fd: int,
        cache_dir: Path | None,
        *,
        quiet_warnings: bool = False,
    ) -> None:
        from pystap.output.consumer import Consumer

        self._artifact = artifact
        self._ring = ring
        self._quiet = quiet_warnings
        self._children: list[int] = []
        self._consumer = Consumer(ring, artifact.formats, fd, self._control, cache_dir)

    @property
    def buffer_megabytes(self) -> int:
        """Size of the ring buffer in whole MB, at least 1."""
        return max(1, self._ring.size >> 20)

    def epoll(self) -> object:
        """An epoll object that wakes up when a handler announces output."""
        return self._ring.epoll()

    def drain(self) -> bool:
        """Write out all that is there.  True when there was so much that more is likely."""
        before = self._ring.available
        if before:
            self._consumer.drain()
        return before > self._ring.size // 8

    def flush(self) -> None:
        """Reap commands that system() started."""
        for pid in self._children:
            os.waitpid(pid, 0)
        self._children.clear()

    def complain(self, text: str) -> None:
        """One line on standard error, after the output that came before it."""
        os.write(2, text.encode("latin-1", "replace") + b"\n")

    def _control(self, item_id: int, payload: bytes) -> None:
        from pystap.output.records import parse_error, parse_string

        if item_id == ITEM_ERROR:
            from pystap.session.errors import runtime_error

            if not self._artifact.suppress_handler_errors:
                self.complain(runtime_error(parse_error(payload), self._artifact))
        elif item_id == ITEM_WARN:
            if not self._quiet:
                self.complain("WARNING: " + parse_string(payload).decode("latin-1"))
        elif item_id == ITEM_SYSTEM:
            command = os.fsdecode(parse_string(payload))
            argv = ["/bin/sh", "-c", command]
            self._children.append(os.posix_spawn(argv[0], argv, os.environ))
        elif item_id != ITEM_EXIT:
            self.complain(f"WARNING: unknown control item {item_id:#x} in the output")
