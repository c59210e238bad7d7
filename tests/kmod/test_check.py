"""What the kernel runtime does not have, said before anything is compiled."""

from __future__ import annotations

import pytest

from pystap.backend.kmod.check import check_module
from pystap.diag.diagnostic import DiagnosticError
from pystap.ir.module import Module
from pystap.ir.probe import Probe
from pystap.probes.attach import LsmHook


def test_security_hooks_are_refused() -> None:
    point = 'kernel.lsm("file_open")'
    probe = Probe(point, point, 0, LsmHook("file_open"), "<input>:1:1")
    with pytest.raises(DiagnosticError) as caught:
        check_module(Module(probes=[probe]))
    said = caught.value.diagnostic
    assert said.message == f"the kernel runtime cannot attach probe {point}"
    assert said.hint == "use the bpf runtime: --runtime=bpf"
