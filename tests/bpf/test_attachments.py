"""Every probe of a module gets a program, or translation ends with an error."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from pystap.backend.bpf.compile import compile_module
from pystap.backend.bpf.facts import CompileError, running_kernel

from .build import ModuleBuilder


class Unknown(NamedTuple):
    """A way to attach that the runtime has never heard of."""

    where: str = "somewhere"


def test_unknown_way_to_attach_is_refused() -> None:
    m = ModuleBuilder()
    m.begin()
    m.probe(Unknown(), point='strange("place")')  # type: ignore[arg-type]
    with pytest.raises(CompileError, match=r'cannot attach strange\("place"\) \(Unknown\)'):
        compile_module(m.module, running_kernel())
