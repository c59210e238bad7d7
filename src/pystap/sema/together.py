"""What the probe points of one script have to agree on: files and counters."""

from __future__ import annotations

from pystap.lang.tokens import Token
from pystap.probes.attach import STANDARD_INPUT, ProcFile, counter_of
from pystap.sema.work import Work, did_you_mean


def check_together(work: Work) -> None:
    """Report files with more than one reader or writer, counters of one name, and names that
    no counter has."""
    files: set[tuple[str, str]] = set()
    counters: set[str] = set()
    for probe in work.probes:
        for _, attach in probe.match.points:
            if isinstance(attach, ProcFile):
                _file(work, attach, files, probe.definition.tok)
            elif counter := counter_of(attach):
                if counter in counters:
                    work.error(f"perf counter '{counter}' is there twice", probe.definition.tok)
                counters.add(counter)
    for name, tok in work.counters_read.items():
        if name not in counters:
            hint = did_you_mean(name, list(counters))
            define = f'perf.type(..).config(..).counter("{name}") makes one'
            work.error(f'@perf("{name}") names no perf counter', tok, hint=hint or define)


def _file(work: Work, attach: ProcFile, files: set[tuple[str, str]], tok: Token) -> None:
    key = (attach.path, attach.edge)
    if key in files and attach.path != STANDARD_INPUT:
        work.error(f"a file has one {attach.edge} probe: '{attach.path}' has another", tok)
    files.add(key)
