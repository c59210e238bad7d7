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


@pytest.mark.shared_out
def test_client(tmp_path: Path) -> None:
    script = """
    probe nfs.fop.read_iter { println(name, " ", argstr, " ", ino > 0, " ", s_id != "") }
    probe nfs.fop.write_iter.return { println(name, " ", retstr, " ", size, " ", units) }
    probe nfs.proc3.lookup, nfs.proc4.lookup, nfs.proc3.create, nfs.proc3.remove,
          nfs.proc4.rename, nfs.proc3.write {
      println(name, " ", version, " ", server_ip, " ", prot, " ", argstr)
    }
    probe nfs.proc3.lookup.return, nfs.proc4.rename.return, nfs.proc4.read.return {
      println(name, " of ", version, " gave ", retstr)
    }
    """
    lines = run(tmp_path, PROGRAM, FREE, "-e", script).out.splitlines()
    assert set(lines) >= {
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
    }


@pytest.mark.shared_out
def test_server(tmp_path: Path) -> None:
    script = """
    probe nfsd.proc3.lookup, nfsd.proc3.create, nfsd.proc4.rename, nfsd.proc3.remove,
          nfsd.proc4.write, nfsd.proc3.read {
      println(name, " ", version, " ", client_ip, " ", proto, " ", uid, " ", argstr)
    }
    probe nfsd.proc3.lookup.return, nfsd.proc4.write.return {
      println(name, " of ", version, " gave ", retstr, " to ", client_ip)
    }
    probe nfsd.unlink { println(name, " ", client_ip, " ", filename, " ", filelen) }
    probe nfsd.unlink.return { println(name, " gave ", retstr) }
    """
    lines = run(tmp_path, PROGRAM, FREE, "-e", script).out.splitlines()
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
def test_functions(tmp_path: Path) -> None:
    done = run(tmp_path, PROGRAM, FREE, DATA / "functions.stp")
    lines = set(done.out.splitlines())
    inodes = dict(re.findall(r"^used /run/nfs-(.) (\d+)$", done.out, re.M))
    files = dict(re.findall(r"^file (.) is (20: 01000101.{32})$", done.out, re.M))
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
def test_procedures(tmp_path: Path) -> None:
    # some of it is told by tracepoints, which come with the module
    subprocess.run(["modprobe", "sunrpc"], check=True)
    lines = set(run(tmp_path, PROGRAM, FREE, DATA / "procedures.stp").out.splitlines())
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
