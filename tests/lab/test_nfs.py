"""Client and server of NFS in one machine: what each is asked is told by the probes on it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from lab.test_kernel_functions import run

pytestmark = pytest.mark.lab

DATA = Path(__file__).parent / "data/nfs"
PROGRAM = (DATA / "loopback.py").read_text()
FREE = "-DSTP_NO_OVERLOAD"  # everything is slow here


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What all probes print in one session, which takes long here."""
    # some of it is told by tracepoints, which come with the module
    subprocess.run(["modprobe", "sunrpc"], check=True)
    directory = tmp_path_factory.mktemp("nfs")
    names = ("client", "server", "functions", "procedures")
    script = directory / "all.stp"
    script.write_text("\n".join((DATA / f"{name}.stp").read_text() for name in names))
    return run(directory, PROGRAM, FREE, script).out


@pytest.mark.shared_out
def test_client(told: str) -> None:
    assert set(told.splitlines()) >= {
        "nfs.fop.read_iter data, 100, 9000 1 1",
        "nfs.fop.write_iter 5000 5000 bytes",
        "nfs.proc.lookup 3 127.0.0.1 6 absent, 3",
        "nfs.proc.lookup 4 127.0.0.1 6 absent, 4",
        "nfs.proc.create 3 127.0.0.1 6 127.0.0.1, data, 0100640",
        "nfs.proc.write 3 127.0.0.1 6 127.0.0.1, 3, 4096, 0",
        "nfs.proc.write 3 127.0.0.1 6 127.0.0.1, 3, 904, 4096",
        "nfs.proc.remove 3 127.0.0.1 6 127.0.0.1, other",
        "nfs.proc.rename 4 127.0.0.1 6 data, other",
        "nfs.proc.lookup of 3 gave -2 (ENOENT)",
        "nfs.proc.rename of 4 gave 0",
        "nfs.proc.read of 4 gave 4096",
        "nfs.fop.mmap 4096 data",
        "nfs.fop.lock 0 20 to 319 416",
        *(f"called nfs.fop.{name}" for name in ("flush", "fsync", "open", "release")),
        *(f"called nfs.fop.{name}.return" for name in ("llseek", "lock", "mmap")),
        *(f"called nfs.aop.{name}" for name in ("readahead", "set_page_dirty")),
        *(f"called nfs.aop.{name}" for name in ("write_begin", "write_end", "writepages")),
        *(f"called nfs.proc.{name}_done" for name in ("commit", "read", "rename", "write")),
    }


@pytest.mark.shared_out
def test_server(told: str) -> None:
    lines = [line for line in told.splitlines() if line.startswith("nfsd.")]
    root = "8: 0100010000000000"  # the handle of what is exported
    assert set(lines) >= {
        f"nfsd.proc.lookup 3 127.0.0.1 6 0 {root}, absent",
        f"nfsd.proc.create 3 127.0.0.1 6 0 {root}, data, NFS3_CREATE_UNCHECKED",
        f"nfsd.proc.remove 3 127.0.0.1 6 0 {root}, other",
        "nfsd.proc.rename 4 127.0.0.1 6 0 data, other",
        "nfsd.proc.lookup of 3 gave NFSERR_NOENT to 127.0.0.1",
        "nfsd.proc.write of 4 gave NFS_OK to 127.0.0.1",
        "nfsd.unlink 127.0.0.1 other 5",
        "nfsd.unlink gave NFS_OK",
    }
    ends = {
        line.rpartition(": ")[2].partition(", ")[2] for line in lines if "20: 01000101" in line
    }
    assert ends == {"4096, 0", "904, 4096", "4096, 4096"}


@pytest.mark.shared_out
def test_functions(told: str) -> None:
    lines = set(told.splitlines())
    inodes = dict(re.findall(r"^used /run/nfs-(.) (\d+)$", told, re.M))
    files = dict(re.findall(r"^file (.) is (20: 01000101.{32})$", told, re.M))
    assert lines >= {
        "nobody [] 0",
        "has 3,0,0,0",
        "calls 100003 3 6 2049 1",
        "calls 100003 4 6 2049 1",
        "leads to 127.0.0.1 6 2049",
        "answered by 127.0.0.1 6, 1 is under way; 1",
        "asked by 127.0.0.1 127.0.0.1, 6 3 0 0",
        "number was the client's next: 1",
        f"file is {files['3']} for 127.0.0.1",
        "type, size and time of change are asked for: 26 1",
        *(f"reads {v}: {inodes[v]} {inodes[v]}, 127.0.0.1 6; 1 1 1" for v in "34"),
    }
    assert len([line for line in lines if line.startswith(("has ", "leads ", "answered "))]) == 3
    # RFC 1813: numbers of the procedures of version 3; of version 4 all but one is "compound".
    assert lines >= {
        "procedure 0 of 3 is unnamed",
        "procedure 1 of 3 is GETATTR",
        "procedure 3 of 3 is LOOKUP",
        "procedure 6 of 3 is READ",
        "procedure 7 of 3 is WRITE",
        "procedure 12 of 3 is REMOVE",
        "procedure 14 of 3 is RENAME",
        "procedure 1 of 4 is RENAME",
    }


@pytest.mark.shared_out
def test_procedures(told: str) -> None:
    lines = set(told.splitlines())
    assert lines >= {
        "sunrpc.svc.process 100003 3 0 17 127.0.0.1 of nfsd 100003",
        "packet 0x12345678",
        "packet 0x12345679",
        "sunrpc.svc.process 100003 3 6 6 127.0.0.1 of nfsd 100003",
        "sunrpc.svc.process 100003 4 1 6 127.0.0.1 of nfsd 100003",
        "sunrpc.svc.authorise 0x12345679 100003 3 0 127.0.0.1 of nfsd",
        "sunrpc.svc.drop 0x12345678 17 127.0.0.1 of nfsd",
        "sunrpc.svc.destroy nfsd nfsd 100003: 1 1 1",
        "sunrpc.sched.release_task 100003 3 6",
        "sunrpc.sched.release_task 100003 4 6",
    }
    assert not any(line.startswith("sunrpc.svc.authorise 0x12345678") for line in lines)
