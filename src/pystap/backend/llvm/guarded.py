"""Compiles large modules in child processes, one for each CPU.

What LLVM does to a process it does to a child only, and the parts of a module are compiled at the
same time.
"""

from __future__ import annotations

import os

from pystap.backend.llvm import binding
from pystap.typing import Final

# IR of this size is compiled by children.  Usual programs are smaller, and no smaller one of what
# the code generator makes is known to end LLVM: they are spared the fork.
GUARDED_BYTES: Final = 256 << 10
_MOST_PARTS: Final = 8

_OBJECT, _ERROR = b"o", b"e"
_PR_SET_PDEATHSIG: Final = 1  # <linux/prctl.h>


class LlvmDied(Exception):  # noqa: N818 - the process died, not the exception
    """LLVM ended its process; the message is what it said at last."""


def compile_objects(ir_text: bytes) -> list[bytes]:
    """Compile textual IR for BPF, see :func:`binding.compile_object`; large modules in parts.

    Raises :class:`LlvmDied` when LLVM ends a process that compiles a large module.
    """
    if len(ir_text) < GUARDED_BYTES:
        return [binding.compile_object(ir_text)]
    from pystap.backend.llvm.split import split

    parts = min(len(os.sched_getaffinity(0)), _MOST_PARTS)
    return in_children(split(ir_text, parts) if parts > 1 else [ir_text])


def in_children(texts: list[bytes]) -> list[bytes]:
    """Compile modules of textual IR at the same time, each in a child process."""
    binding.load()  # once, and not while another thread does it
    children: list[_Child] = []
    try:
        for text in texts:
            children.append(_Child(text))
        return [child.answer() for child in children]
    finally:
        for child in children:
            child.end()


class _Child:
    """A process that compiles a module."""

    def __init__(self, ir_text: bytes) -> None:
        self._reader, writer = os.pipe()
        self._said = os.memfd_create("llvm")
        self._pid = os.fork()
        if self._pid == 0:
            _compile(ir_text, writer, self._said)
        os.close(writer)

    def answer(self) -> bytes:
        """Wait for the object; raises what :func:`compile_objects` does."""
        with open(self._reader, "rb", closefd=False) as file:
            answer = file.read()
        _, status = os.waitpid(self._pid, 0)
        self._pid = 0
        if status != 0 or not answer:
            raise LlvmDied(_last_words(self._words()) or f"status {status}")
        if answer[:1] == _ERROR:
            raise binding.LlvmError(answer[1:].decode())
        return answer[1:]

    def _words(self) -> str:
        with open(self._said, "rb", closefd=False) as file:
            file.seek(0)
            return file.read().decode("utf-8", "replace")

    def end(self) -> None:
        """End the process if it still works, and close what belongs to it."""
        if self._pid:
            os.kill(self._pid, 9)
            os.waitpid(self._pid, 0)
        os.close(self._said)
        os.close(self._reader)


def _compile(ir_text: bytes, writer: int, said: int) -> None:
    """What the child does; it never returns.  It ends with its parent and when interrupted."""
    import ctypes
    import signal

    status = 1
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        os.dup2(said, 2)
        try:
            answer = _OBJECT + binding.compile_object(ir_text)
        except binding.LlvmError as error:
            answer = _ERROR + str(error).encode()
        with open(writer, "wb") as file:
            file.write(answer)
        status = 0
    finally:
        os._exit(status)


def _last_words(text: str) -> str:
    """The first line of LLVM's complaint; what follows is a report on the process."""
    for line in text.splitlines():
        _, found, reason = line.partition("LLVM ERROR: ")
        if found:
            return reason
    return text.strip().partition("\n")[0]
