"""Reading the script: a file, standard input or ``-e``."""

from __future__ import annotations

import os
import stat
import sys

from pystap.options import Options


class ScriptError(Exception):
    """The script cannot be read; the message is ready to print."""


def read_script(options: Options) -> tuple[str, str]:
    """Name for messages and text (one character per byte) of the user script."""
    if options.script is not None:
        return "<input>", options.script
    path = options.script_file or ""
    if path == "-":
        return "<input>", sys.stdin.buffer.read().decode("latin-1")
    return path, _read_file(path)


def _read_file(path: str) -> str:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise ScriptError(f"Input file '{path}' is missing.") from None
    except OSError as error:
        reason = error.strerror
        raise ScriptError(f"Input file '{path}' can't be opened for reading. ({reason})") from None
    with os.fdopen(descriptor, "rb") as file:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise ScriptError(f"Input file '{path}' can't be opened for reading. (Is a directory)")
        try:
            data = file.read()
        except OSError as error:
            raise ScriptError(f"Input file '{path}' can't be read: {error.strerror}") from None
    if not data:
        raise ScriptError(f"Input file '{path}' is empty.")
    return data.decode("latin-1")
