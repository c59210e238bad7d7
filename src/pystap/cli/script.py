"""Reading the script: a file, standard input or ``-e``."""

from __future__ import annotations

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
    refusal = f"Input file '{path}' can't be opened for reading."
    try:
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        raise ScriptError(f"Input file '{path}' is missing.") from None
    except OSError as error:
        raise ScriptError(f"{refusal} ({error.strerror})") from None
    if not data:
        raise ScriptError(f"Input file '{path}' is empty.")
    return data.decode("latin-1")
