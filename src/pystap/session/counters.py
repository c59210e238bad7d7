"""The performance events behind ``@perf``: one on each CPU for each counter."""

from __future__ import annotations

import struct

from pystap.kernel.cpu import online_cpus
from pystap.kernel.perf import open_event
from pystap.probes.attach import PerfEvent
from pystap.session.attach import Attached, AttachError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pystap.backend.bpf.artifact import Artifact
    from pystap.session.loader import Loaded


def open_counters(artifact: Artifact, loaded: Loaded) -> Attached:
    """Open the events of all counters and let the programs find them.

    Raises :class:`AttachError`.
    """
    opened = Attached()
    for index, probe in enumerate(artifact.probes):
        where = probe.attach
        if not isinstance(where, PerfEvent) or not where.counter:
            continue
        events = loaded.by_role[f"counter:{where.counter}"]
        what = f"perf type {where.type} config {where.config:#x}"
        try:
            for cpu in online_cpus():
                event = open_event(where.type, where.config, cpu=cpu, what=what)
                opened.hold(event)
                events.update(struct.pack("=I", cpu), struct.pack("=I", event.fd))
        except OSError as error:
            opened.close()
            raise AttachError(index, error) from error
    return opened
