"""Operations with an effect outside of the script's variables."""

from __future__ import annotations

from collections.abc import Callable

from pystap.backend.reference.faults import Aborted
from pystap.backend.reference.state import Phase
from pystap.typing import TYPE_CHECKING, Any, Final, NoReturn

if TYPE_CHECKING:
    from pystap.backend.reference.state import Context
    from pystap.ir.ops import Intrinsic


def _error(context: Context, op: Intrinsic, message: str) -> NoReturn:
    raise context.fault(message, op.pos)


def _warn(context: Context, _op: Intrinsic, message: str) -> None:
    if not context.state.environment.quiet_warnings:
        context.state.messages.append(f"WARNING: {message.removesuffix(chr(10))}")


def _exit(context: Context, _op: Intrinsic) -> None:
    if context.state.phase is not Phase.ERROR:
        context.state.phase = Phase.STOPPING


def _abort(context: Context, op: Intrinsic) -> NoReturn:
    _exit(context, op)
    raise Aborted


def _raise_signal(context: Context, _op: Intrinsic, number: int) -> int:
    if not 0 <= number <= 64:
        return -22
    context.state.signals.append((context.task.tid, number))
    return 0


def _file_set(context: Context, _op: Intrinsic, text: str) -> str:
    context.state.file_text = text
    return text


def _file_append(context: Context, _op: Intrinsic, text: str) -> str:
    context.state.file_text += text
    return text


IMPLEMENTATIONS: Final[dict[str, Callable[..., Any]]] = {
    "error": _error,
    "file_text": lambda context, _op: context.state.file_text,
    "file_set": _file_set,
    "file_append": _file_append,
    "warn": _warn,
    "exit": _exit,
    "abort": _abort,
    "system": lambda context, _op, command: context.state.commands.append(command),
    "random": lambda context, _op: context.state.environment.random(),
    "raise_signal": _raise_signal,
}
