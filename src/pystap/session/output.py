"""What becomes of a session's output, and what control items in it do."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    import select

    from pystap.backend.bpf.artifact import Artifact
    from pystap.kernel.ringbuf import RingBuffer
    from pystap.output.records import Control


class Output:
    """Drains the ring buffer into a descriptor; errors and warnings go to standard error."""

    def __init__(
        self,
        ring: RingBuffer,
        artifact: Artifact,
        fd: int,
        cache_dir: str | None,
        *,
        quiet_warnings: bool = False,
    ) -> None:
        from pystap.output.consumer import Consumer

        self.fd = fd
        self._artifact = artifact
        self._ring = ring
        self._quiet = quiet_warnings
        self._children: list[int] = []
        self._consumer = Consumer(
            ring,
            artifact.formats,
            fd,
            self._control,
            cache_dir,
            hist_width=artifact.hist_width,
            hist_elision=artifact.hist_elision,
        )

    @property
    def buffer_megabytes(self) -> int:
        """Size of the ring buffer in whole MB, at least 1."""
        return max(1, self._ring.size >> 20)

    def epoll(self) -> select.epoll:
        """An epoll object that wakes up when a handler announces output."""
        return self._ring.epoll()

    def drain(self) -> bool:
        """Write out all that is there.  True when there was so much that more is likely."""
        before = self._ring.available
        if before:
            self._consumer.drain()
        return before > self._ring.size // 8

    def finish(self) -> None:
        """Write all that is left, and wait for commands that system() started."""
        self._consumer.finish()
        if self._consumer.malformed:
            count = self._consumer.malformed
            self.complain(f"WARNING: {count} malformed output records were dropped")
        for pid in self._children:
            os.waitpid(pid, 0)
        self._children.clear()

    def complain(self, text: str) -> None:
        """One line on standard error, after the output that came before it."""
        os.write(2, text.encode("latin-1", "replace") + b"\n")

    def warn(self, text: str) -> None:
        """The same for a warning, unless those are not wanted."""
        if not self._quiet:
            self.complain(text)

    def _control(self, item: Control) -> None:
        from pystap.output.records import ErrorItem, SystemItem, WarnItem

        if isinstance(item, ErrorItem):
            from pystap.session.errors import runtime_error

            self.complain(runtime_error(item, self._artifact))
        elif isinstance(item, WarnItem):
            if not self._quiet:
                self.complain("WARNING: " + item.text.decode("latin-1").removesuffix("\n"))
        elif isinstance(item, SystemItem):
            argv = ["/bin/sh", "-c", os.fsdecode(item.command)]
            self._children.append(os.posix_spawn(argv[0], argv, os.environ))
