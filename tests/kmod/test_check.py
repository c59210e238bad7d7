"""What the kernel runtime does not have, said before anything is compiled."""

from __future__ import annotations

import pytest

import inprocess


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (
            'probe perf.sw.page_faults.counter("f") {} probe syscall.read { println(@perf("f")) }',
            'the kernel runtime cannot attach probe perf.sw.page_faults.counter("f")',
        ),
    ],
)
def test_what_is_missing(script: str, said: str) -> None:
    done = inprocess.Run("--runtime=kernel", "-p3", "-e", script).end(60)
    assert said in done.err
    assert "use the bpf runtime: --runtime=bpf" in done.err
    assert (done.out, done.status) == ("", 1)
