"""Limits of this process that tracing may run into."""

from __future__ import annotations

_SPARE = 256  # descriptors for everything else


def allow_files(more: int) -> None:
    """Raise the limit of open descriptors so that ``more`` fit, as far as this process may.

    Each probe that has an event of its own takes two.
    """
    import resource

    wanted = more + _SPARE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    for limits in ((wanted, max(wanted, hard)), (min(wanted, hard), hard)):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        except (OSError, ValueError):  # not allowed to go beyond the hard limit
            continue
        return
