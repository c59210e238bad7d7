"""Arguments of tracepoints are numbers: anything a script may do with one passes the verifier."""

from __future__ import annotations

import pytest

from inprocess import stap

END = (
    " probe begin { a[1] = 0 } probe timer.ms(300) { exit() } "
    "probe end { println(count || a[1] ? 1 : 0) }"
)


@pytest.mark.parametrize(
    "body",
    [
        "if (($next ^ 1) == $next + 1 - 2 * ($next & 1)) count++",
        "count = ($next & ~0) == $next",
        "a[$next] = $next * 3; if (a[$next] / 3 != 0) count++",
        "a[$next >> 4 & 0]++; count = a[0]",
        "if (-(-$next) == $next && ~$next == -$next - 1) count++",
        "if ($next % 4096 % 8 == 0) count++",
        "if ($next != $prev && ($next < 0) == ($prev < 0)) count++",
        "if (different($next, $prev)) count++",
        "if ($next <= $prev || $prev <= $next) count = $next",
    ],
)
def test_arithmetic_on_pointers(body: str) -> None:
    done = stap(
        "--disable-cache",
        "-e",
        "global count, a[5000] function different(x, y) { return x ^ y } "
        f'probe kernel.trace("sched_switch") {{ {body} }} {END}',
    )
    assert (done.out, done.err, done.status) == ("1\n", "", 0)


@pytest.mark.parametrize(
    ("sample", "kind"),
    [
        ("s <<< $next", "@hist_log(s)"),
        ("s <<< $next->pid", "@hist_log(s)"),
        ("s <<< $next", "@hist_linear(s, 0, 100, 10)"),
        ("s <<< $next ^ $prev", "@hist_log(s)"),
    ],
)
def test_samples(sample: str, kind: str) -> None:
    script = f'global s probe kernel.trace("sched_switch") {{ {sample} }}'
    end = f"probe timer.ms(300) {{ exit() }} probe end {{ print({kind}) println(@count(s) > 0) }}"
    done = stap("--disable-cache", "-e", f"{script} {end}")
    assert (done.out.splitlines()[-1], done.err, done.status) == ("1", "", 0)


def test_samples_by_key_that_may_fail() -> None:
    script = 'global s probe kernel.trace("sched_switch") { s[execname()] <<< $next->pid }'
    end = "probe timer.ms(300) { exit() } probe end { foreach (k in s) n++; println(n > 0) }"
    done = stap("--disable-cache", "-e", f"{script} {end}")
    assert (done.out, done.err, done.status) == ("1\n", "", 0)
