"""``-D`` values become limits."""

from __future__ import annotations

import pytest

from pystap.diag.diagnostic import DiagnosticError
from pystap.ir.limits import limits_of
from pystap.options import Options


def options(**defines: str) -> Options:
    made = Options()
    made.defines = defines
    return made


def test_defaults() -> None:
    limits = limits_of(options())
    assert limits.maxstringlen == 512
    assert limits.maxaction == 10_000
    assert limits.maxmapentries == 2048
    assert (limits.maxerrors, limits.maxskipped) == (0, 100)
    assert (limits.maxtrylock, limits.trylockdelay) == (100, 10)
    assert (limits.hist_width, limits.hist_elision) == (50, 2)
    assert limits.time_limits
    assert (limits.overload_interval, limits.overload_threshold) == (10**9, 5 * 10**8)
    assert (limits.timing, limits.interruptible, limits.maxmemory) == ("", True, 0)
    assert not limits.suppress_handler_errors


@pytest.mark.parametrize(
    ("name", "text", "attribute", "value"),
    [
        ("MAXSTRINGLEN", "64", "maxstringlen", 64),
        ("MAXSTRINGLEN", "0x400", "maxstringlen", 1024),
        ("MAXSTRINGLEN", "0100", "maxstringlen", 64),
        ("MAXMAPENTRIES", "10", "maxmapentries", 10),
        ("MAXERRORS", "3", "maxerrors", 3),
        ("MAXSKIPPED", "0", "maxskipped", 0),
        ("MAXTRYLOCK", "5", "maxtrylock", 5),
        ("TRYLOCKDELAY", "1", "trylockdelay", 1),
        ("MAXNESTING", "4", "maxnesting", 4),
        ("HIST_WIDTH", "20", "hist_width", 20),
        ("HIST_ELISION", "-1", "hist_elision", -1),
        ("HIST_ELISION", "-9", "hist_elision", -9),
        ("MAXERRORS", "", "maxerrors", 1),
        ("STP_OVERLOAD_INTERVAL", "5000LL", "overload_interval", 5000),
        ("STP_OVERLOAD_THRESHOLD", "0x10ul", "overload_threshold", 16),
        ("STP_MAXMEMORY", "1000", "maxmemory", 1000),
        ("STP_NO_OVERLOAD", "1", "overload_interval", 0),
        ("STP_ALIBI", "1", "timing", "hits"),
        ("STP_TIMING_NSECS", "1", "timing", ""),
        ("STP_FORCE_STDOUT_TTY", "1", "force_tty", True),
        ("INTERRUPTIBLE", "0", "interruptible", False),
    ],
)
def test_number(name: str, text: str, attribute: str, value: object) -> None:
    assert getattr(limits_of(options(**{name: text})), attribute) == value


@pytest.mark.parametrize(
    ("defines", "value"),
    [
        ({"MAXACTION": "7"}, 70),
        ({"MAXACTION": "7", "INTERRUPTIBLE": "0"}, 7),
        ({"INTERRUPTIBLE": "0"}, 1000),
        ({"INTERRUPTIBLE": "1"}, 10_000),
        ({"MAXACTION_INTERRUPTIBLE": "9"}, 9),
        ({"MAXACTION": "7", "MAXACTION_INTERRUPTIBLE": "9"}, 9),
        ({"MAXACTION": "7", "MAXACTION_INTERRUPTIBLE": "9", "INTERRUPTIBLE": "0"}, 7),
    ],
)
def test_actions(defines: dict[str, str], value: int) -> None:
    assert limits_of(options(**defines)).maxaction == value


def test_switches_and_unknown_names() -> None:
    made = options(STP_ALIBI="1")
    made.suppress_time_limits = True
    made.suppress_handler_errors = True
    limits = limits_of(made)
    assert not limits.time_limits
    assert limits.suppress_handler_errors
    assert limits.defines == {"STP_ALIBI": "1"}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("MAXSTRINGLEN", "many", "-D MAXSTRINGLEN=many: not a number"),
        ("MAXSTRINGLEN", "1", "-D MAXSTRINGLEN=1: must lie between 2 and 65536"),
        ("MAXMAPENTRIES", "0", "-D MAXMAPENTRIES=0: must lie between 1 and 2147483647"),
        ("MAXACTION", "09", "-D MAXACTION=09: not a number"),
        ("INTERRUPTIBLE", "2", "-D INTERRUPTIBLE=2: must lie between 0 and 1"),
    ],
)
def test_bad_value(name: str, text: str, message: str) -> None:
    with pytest.raises(DiagnosticError, match=f"^{message}$"):
        limits_of(options(**{name: text}))


def test_the_report_is_of_cycles_unless_told_otherwise() -> None:
    timed = options()
    timed.timing = True
    assert limits_of(timed).timing == "cycles"
    timed.defines = {"STP_TIMING_NSECS": "1"}
    assert limits_of(timed).timing == "nsecs"


def test_no_time_limits_is_no_overload_either() -> None:
    unlimited = options()
    unlimited.suppress_time_limits = True
    assert limits_of(unlimited).overload_interval == 0
