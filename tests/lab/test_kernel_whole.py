"""Places in the source of a stock kernel, by its own debug information: large, so this is only for
a kernel whose debug information was fetched (``python -m tests.lab --kernel NAME --vmlinux``), and
only when every test is asked for (``--lab-whole``)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lab.test_kernel_functions import _CALLS, _READS, _SIZE, run

from . import kernels

pytestmark = pytest.mark.lab


@pytest.mark.shared_out(one_in=1, long=True)
def test_statements_inlined_functions_and_callees(
    tmp_path: Path, lab_kernel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = kernels.cache_directory() / lab_kernel / "debug/usr/lib/debug"
    if not (tree / "boot" / f"vmlinux-{os.uname().release}").exists():
        pytest.skip("the kernel's debug information was not fetched")
    monkeypatch.setenv("SYSTEMTAP_DEBUGINFO_PATH", str(tree))
    mine = f"pid() == target() && $count == {_SIZE}"
    script = f"""
    global n
    probe kernel.statement("vfs_read@fs/read_write.c+4") {{ if ({mine}) n["statement"]++ }}
    probe kernel.function("vfs_read@fs/read_write.c").call {{ if ({mine}) n["call"]++ }}
    probe kernel.function("__do_sys_pread64@fs/read_write.c").inline {{
      if ({mine}) n["inline"]++
    }}
    probe kernel.function("vfs_read@fs/read_write.c").callee("rw_verify_area") {{
      if ({mine}) n["callee"]++
    }}
    probe kernel.function("vfs_read@fs/read_write.c").return {{
      if ({mine} && $return == {len(_READS) - 7}) n["return"]++
    }}
    probe end {{
      foreach (place+ in n) println(place, " ", n[place])
      println(@var("init_task@init/init_task.c", "kernel")->pid, " ",
              kernel_string(@var("init_task", "kernel")->comm))
    }}
    """
    half = _CALLS // 2
    assert run(tmp_path, _READS, "-e", script).out.splitlines() == [
        *(f"{place} {half}" for place in ("call", "callee", "inline", "return", "statement")),
        "0 swapper/0",
    ]
