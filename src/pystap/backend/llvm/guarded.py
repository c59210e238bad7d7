"""Compiles in a child process: what LLVM does to a process it does to the child only."""

from __future__ import annotations

import os

from pystap.backend.llvm import binding
from pystap.typing import Final

# IR of this size is compiled by a child.  Usual programs are smaller, and no smaller one of what
# the code generator makes is known to end LLVM: they are spared the fork.
GUARDED_BYTES: Final = 256 << 10

_OBJECT, _ERROR = b"o", b"e"
_PR_SET_PDEATHSIG: Final = 1  # <linux/prctl.h>


class LlvmDied(Exception):  # noqa: N818 - the process died, not the exception
    """LLVM ended its process; the message is what it said at last."""


def compile_object(ir_text: bytes) -> bytes:
    """Compile textual IR for BPF, see :func:`binding.compile_object`.

    Raises :class:`LlvmDied` when LLVM ends the process that compiles a large module.
    """
    if len(ir_text) < GUARDED_BYTES:
        return binding.compile_object(ir_text)
    return in_child(ir_text)


def in_child(ir_text: bytes) -> bytes:
    """Compile textual IR in a child process, whatever its size."""
    binding.load()  # once, and not while another thread does it
    reader, writer = os.pipe()
    said = os.memfd_create("llvm")
    child = os.fork()
    if child == 0:
        _compile(ir_text, writer, said)
    os.close(writer)
    try:
        with open(reader, "rb") as file:
            answer = file.read()
    except BaseException:
        os.kill(child, 9)
        raise
    finally:
        _, status = os.waitpid(child, 0)
        with open(said, "rb") as file:
            file.seek(0)
            words = file.read().decode("utf-8", "replace")
    if status != 0 or not answer:
        raise LlvmDied(_last_words(words) or f"status {status}")
    if answer[:1] == _ERROR:
        raise binding.LlvmError(answer[1:].decode())
    return answer[1:]


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
