"""How much the verifier looks at for whole scripts: that is most of what loading takes."""

from __future__ import annotations

import pytest

from pystap.cli.passes import Front, translate_to_ir
from pystap.cli.report import PassReport
from pystap.ir.module import Module
from pystap.options import Options

from .harness import Loaded


def module_of(script: str) -> Module:
    """Passes 1 to 3 as the command runs them."""
    options = Options()
    made = translate_to_ir(Front(options), "<input>", script, PassReport([0] * 5))
    assert not isinstance(made, int)
    return made[1]


@pytest.mark.parametrize(
    ("script", "most"),
    [
        ('probe begin { println("hello world") exit() }', 500),
        ("global c probe syscall.getppid { c++ }", 50),
        ('global a probe kernel.trace("sched_switch") { a[pid(), execname()]++ }', 700),
        ('global a probe kernel.trace("sched_switch") { a[pid(), execname()] <<< $next->pid } '
         "probe end { foreach ([p, e] in a) print(@hist_log(a[p, e])) }", 3000),
        ("global a probe syscall.getppid { a[pid(), execname()] <<< tid() } "
         "probe end { foreach ([p, e] in a) println(@avg(a[p, e])) }", 3000),
        ('probe kernel.trace("sched_switch") { printf("%d %s\\n", tid(), execname()) }', 2000),
        ("global a probe begin { a[1] = 1; foreach (k- in a limit 10) println(k, a[k]) }", 10_000),
    ],
)  # fmt: skip
def test_verified_instructions(script: str, most: int) -> None:
    with Loaded(module_of(script)) as loaded:
        kinds = [spec.attach for spec in loaded.artifact.programs]
        found = dict(zip(kinds, loaded.verified(), strict=True))
    program = found.get("tp_btf") or found["session"]
    assert 0 < program <= most, found
    assert max(found.values()) <= 10_000, found  # tables printed at the end
