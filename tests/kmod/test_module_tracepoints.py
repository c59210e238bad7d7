"""Tracepoints of modules of the kernel that come and go, by modules."""

from __future__ import annotations

import subprocess

import pytest

from kmod.module_types import WithTypesOf
from lab.modules import Modules

pytestmark = [pytest.mark.lab, pytest.mark.shared_out]

SCRIPT = """
global fresh
probe kernel.trace("module_load") { if (kernel_string($mod->name) == "scsi_debug") fresh = 1 }
probe kernel.trace("scsi_dispatch_cmd_start") {
  if (fresh) printf("sent to %d of %s\\n", $cmd->device->lun, modname(stack(0)))
  fresh = 0
}
"""
SENT = WithTypesOf("scsi_mod", "-e", SCRIPT)
POINT = 'kernel.trace("scsi_dispatch_cmd_start")'


def test_they_are_followed(modules: Modules) -> None:
    subprocess.run(["modprobe", "-qr", "sd_mod", "scsi_debug"], check=False)
    load = "modprobe scsi_debug; modprobe -r scsi_debug; grep scsi_mod /proc/modules"
    done = modules.run(SENT, "-c", f"sh -c '{load}; {load}'")
    assert done.out == "sent to 0 of scsi_mod\n" * 2, done.err
    assert f"WARNING: probe {POINT} registration error" in done.err
    assert "skipped" not in done.err
    assert done.status == 0
