"""What can end a handler early, as exceptions."""

from __future__ import annotations


class InterpreterError(Exception):
    """The module or the scripted events are wrong: a mistake of the translator or of a test,
    never of the traced script."""


class RuntimeFault(Exception):  # noqa: N818 - it is the script's error, not the interpreter's
    """A run-time error of the script: unwinds to the nearest ``try`` or ends the handler.

    ``position`` indexes ``Module.positions`` (-1: unknown), ``callers`` are the positions of the
    calls that were active, innermost first.
    """

    def __init__(self, message: str, position: int, callers: tuple[int, ...]) -> None:
        super().__init__(message)
        self.message = message
        self.position = position
        self.callers = callers


class Aborted(Exception):  # noqa: N818 - how a handler ends
    """abort() was called: the handler ends, no ``try`` stops it."""


class Skipped(Exception):  # noqa: N818 - how a handler ends
    """A lock could not be had: the handler ends and is counted as skipped."""
