"""Which messages of a kernel are complaints."""

from __future__ import annotations

import pytest

from .complaints import find


@pytest.mark.parametrize(
    "line",
    [
        "WARNING: CPU: 1 PID: 137 at kernel/trace/ftrace.c:2000 ftrace_bug+0x1/0x2",
        "WARNING: kernel/trace/ftrace.c:2000 at ftrace_bug+0x1/0x2, CPU#1: sh/137",
        "WARNING: possible circular locking dependency detected",
        "BUG: kernel NULL pointer dereference, address: 0000000000000008",
        "kernel BUG at mm/slub.c:379!",
        "Oops: 0002 [#1] PREEMPT SMP NOPTI",
        "Kernel panic - not syncing: sysrq triggered crash",
        "general protection fault, probably for non-canonical address 0xdead000000000100",
        "INFO: task stap:321 blocked for more than 120 seconds.",
        "watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [stap:321]",
        "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
        "UBSAN: array-index-out-of-bounds in net/core/dev.c:1:2",
        "list_add corruption. next->prev should be prev",
        "refcount_t: underflow; use-after-free.",
        "Out of memory: Killed process 1 (stap)",
    ],
)
def test_complaint(line: str) -> None:
    assert find([f"[    1.000000] {line}"]) == [f"[    1.000000] {line}"]


@pytest.mark.parametrize(
    "line",
    [
        "mtrr: your CPUs had inconsistent fixed MTRR settings",
        "probe: loading out-of-tree module taints kernel.",
        "probe: module verification failed: signature and/or required key missing",
        "busybox[12]: segfault at 0 ip 0000000000000000 sp 00007ffd error 14",
        "debug: a warning: nothing to see",
    ],
)
def test_other_message(line: str) -> None:
    assert find([line]) == []
