"""The C text of a header for marks, and of the counters that tell whether somebody listens."""

from __future__ import annotations

from collections.abc import Iterable

from pystap.dtrace.definitions import Probe
from pystap.typing import Final

_HEADER: Final = """\
/* Marks of {source}, made by dtrace -h of pystap.  */

#ifndef _SDT_HAS_SEMAPHORES
#define _SDT_HAS_SEMAPHORES 1
#endif
#include <sys/sdt.h>
"""
_PROBE: Final = """
/* {macro}({types}) */
__extension__ extern {volatile}unsigned short {semaphore}
  __attribute__((unused, section(".probes")));
#define {macro}_ENABLED() __builtin_expect({semaphore}, 0)
#define {macro}({names}) \\
  {call}
"""
_COUNTER: Final = """\
__extension__ {volatile}unsigned short {semaphore}
  __attribute__((used, section(".probes")));
"""
_VOLATILE: Final = "volatile "


def header(probes: Iterable[Probe], source: str, types: bool) -> str:
    """A header with a macro for each mark; with ``types`` also typedefs of the arguments."""
    pieces = [_HEADER.format(source=source)]
    for probe in probes:
        names = [f"arg{n}" for n in range(1, len(probe.types) + 1)]
        count = len(names) or ""
        call = f"DTRACE_PROBE{count}({', '.join([probe.provider, probe.name, *names])})"
        pieces.append(
            _PROBE.format(
                macro=probe.macro,
                types=", ".join(probe.types),
                semaphore=probe.semaphore,
                volatile=_VOLATILE,
                names=", ".join(names),
                call=call,
            )
        )
        if types:
            pieces += [
                f"typedef {kind} {probe.provider}_{probe.name}_{name};\n"
                for kind, name in zip(probe.types, names, strict=True)
            ]
    return "".join(pieces)


def counters(probes: Iterable[Probe], source: str) -> str:
    """The definitions of the counters."""
    lines = [f"/* Counters of the marks of {source}, made by dtrace -G of pystap.  */\n"]
    lines += [_COUNTER.format(semaphore=p.semaphore, volatile=_VOLATILE) for p in probes]
    return "".join(lines)
