"""Limits of a translation from the options (language.md §14)."""

from __future__ import annotations

from pystap.diag.diagnostic import Diagnostic, DiagnosticError
from pystap.ir.module import Limits
from pystap.lang.numbers import c_number
from pystap.typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pystap.options import Options

# -D name, attribute of Limits, least and most value.
_MOST: Final = 2**31 - 1
_LONG_MAX: Final = 2**63 - 1
_NUMBERS: Final = (
    ("MAXSTRINGLEN", "maxstringlen", 2, 64 * 1024),
    ("MAXNESTING", "maxnesting", 1, 1000),
    ("MAXMAPENTRIES", "maxmapentries", 1, _MOST),
    ("MAXBACKTRACE", "maxbacktrace", 1, 1024),
    ("MAXERRORS", "maxerrors", 0, _MOST),
    ("MAXSKIPPED", "maxskipped", 0, _MOST),
    ("MAXTRYLOCK", "maxtrylock", 0, _MOST),
    ("TRYLOCKDELAY", "trylockdelay", 0, _MOST),
    ("HIST_WIDTH", "hist_width", 1, 1000),
    ("HIST_ELISION", "hist_elision", -_MOST, _MOST),
    ("STP_OVERLOAD_INTERVAL", "overload_interval", 1, _LONG_MAX),
    ("STP_OVERLOAD_THRESHOLD", "overload_threshold", 0, _LONG_MAX),
    ("STP_MAXMEMORY", "maxmemory", 1, _LONG_MAX),
)
_INTERRUPTIBLE_FACTOR: Final = 10


def limits_of(options: Options) -> Limits:
    """Defaults changed by ``-D NAME=VALUE`` and the switches.

    MAXACTION counts ten times because handlers are interruptible unless INTERRUPTIBLE=0;
    MAXACTION_INTERRUPTIBLE gives the number itself.  Names that mean nothing here are kept in
    ``defines``.  Raises DiagnosticError for a value that is no number or out of range.
    """
    defines = options.defines
    limits = Limits(defines=dict(defines))
    for name, attribute, least, most in _NUMBERS:
        if name in defines:
            setattr(limits, attribute, _number(name, defines[name], least, most))
    interruptible = "INTERRUPTIBLE" not in defines or _number(
        "INTERRUPTIBLE", defines["INTERRUPTIBLE"], 0, 1
    )
    if "MAXACTION" in defines or not interruptible:
        base = _number("MAXACTION", defines.get("MAXACTION", "1000"), 1, _MOST)
        limits.maxaction = base * (_INTERRUPTIBLE_FACTOR if interruptible else 1)
    if "MAXACTION_INTERRUPTIBLE" in defines and interruptible:
        given = defines["MAXACTION_INTERRUPTIBLE"]
        limits.maxaction = _number("MAXACTION_INTERRUPTIBLE", given, 1, _MOST)
    limits.interruptible = bool(interruptible)
    limits.time_limits = not options.suppress_time_limits
    if options.suppress_time_limits or "STP_NO_OVERLOAD" in defines:
        limits.overload_interval = 0
    limits.timing = _timing(options)
    limits.force_tty = "STP_FORCE_STDOUT_TTY" in defines
    limits.suppress_handler_errors = options.suppress_handler_errors
    limits.bulk = options.bulk
    if options.last_pass < 5:  # else staprun is told
        limits.buffer_megabytes = options.buffer_megabytes or 0
    return limits


def _timing(options: Options) -> str:
    """What the report at the end tells, see :class:`Limits`."""
    if "STP_ALIBI" in options.defines:
        return "hits"
    if not options.timing:
        return ""
    return "nsecs" if "STP_TIMING_NSECS" in options.defines else "cycles"


def _number(name: str, text: str, least: int, most: int) -> int:
    """A C number; a name given without value means 1."""
    number = c_number((text or "1").rstrip("uUlL"))
    if number is None:
        raise DiagnosticError(Diagnostic("error", f"-D {name}={text}: not a number"))
    if not least <= number <= most:
        raise DiagnosticError(
            Diagnostic("error", f"-D {name}={text}: must lie between {least} and {most}")
        )
    return number
