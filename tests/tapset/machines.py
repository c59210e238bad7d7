"""The made-up machines that tapset cases run on, by name."""

from __future__ import annotations

from collections.abc import Callable

from pystap.backend.reference import Environment, Memory, Task

from .fakekernel import FakeKernel


def plain() -> Environment:
    """Nothing in memory; a clock that tells Thu Jan  1 00:16:40 1970, five seconds after boot."""
    return Environment(start_realtime_ns=1000 * 10**9 + 123_456_789)


def memory() -> Environment:
    """Text and numbers at fixed addresses, in kernel and user space alike."""
    contents = {
        0x1000: b"text\0",
        0x1100: b'a "quoted"\n\xe9 text\0and more\0',
        0x2000: bytes([0x80, 0xFF, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF]),
        0x3000: b"x" * 700 + b"\0",
    }
    env = plain()
    env.kernel, env.user = Memory(contents), Memory(contents)
    env.kernel.map(0xFFFF_8880_0000_0000, b"kernel\0")
    return env


def utf() -> Environment:
    """UTF-16 at 0x1000 and UTF-32 at 0x2000, malformed from 0x3000 on."""
    text = "a\xe9\u20ac\U0001f600\0"
    contents = {
        0x1000: text.encode("utf-16-le"),
        0x2000: text.encode("utf-32-le"),
        0x3000: bytes([0x3D, 0xD8, 0x41, 0, 0, 0]),
        0x3100: bytes([0x00, 0xDE, 0, 0]),
        0x3200: bytes([0, 0, 0x11, 0, 0, 0, 0, 0]),
        0x3300: bytes([0, 0xD8, 0, 0, 0, 0, 0, 0]),
    }
    env = plain()
    env.kernel, env.user = Memory(contents), Memory(contents)
    return env


def zone() -> Environment:
    """A time zone east of Greenwich."""
    env = plain()
    env.tz_gmtoff, env.tz_name = -7200, "CEST"
    return env


def _memory_counters(kernel: FakeKernel) -> dict[str, int | bytes]:
    """Resident pages as this kernel counts them: 5 file, 7 anonymous, 2 shared."""
    counts = {0: 5, 1: 7, 3: 2}
    offset, size = kernel.place("mm_struct", "rss_stat")
    assert offset
    if size > 4 * 8 + 8:
        return {f"rss_stat[{k}].count": v for k, v in counts.items()}
    return {f"rss_stat.count[{k}].counter": v for k, v in counts.items()}


def _process(kernel: FakeKernel, user: Memory) -> dict[str, int | bytes]:
    """Fields of the task_struct of ``shell`` that point to other structures."""
    upid = kernel.size("upid")
    assert upid == 16
    numbers = kernel.place("pid", "numbers")[0]
    ids = {}
    for kind, number in ((2, 70), (3, 60)):
        pid = kernel.make("pid")
        kernel.memory.map(pid, bytes(numbers + upid))
        kernel.memory.map(pid + numbers, number.to_bytes(4, "little"))
        ids[f"pids[{kind}]"] = pid
    limits = {"rlim[7].rlim_cur": 1024, "rlim[3].rlim_cur": 8 << 20, "rlim[0].rlim_cur": -1}
    user.map(0x7000, b"/bin/shell\0-c\0echo hi\0")
    user.map(0x7100, b"HOME=/root\0EMPTY=\0TERM=linux\0")
    mm = kernel.make(
        "mm_struct",
        {
            "total_vm": 1000, "data_vm": 30, "stack_vm": 4, "start_code": 0x400000,
            "end_code": 0x402001, "arg_start": 0x7000, "arg_end": 0x7000 + 22,
            "env_start": 0x7100, "env_end": 0x7100 + 29, "exe_file": 0x77,
            **_memory_counters(kernel),
        },
    )  # fmt: skip
    files = [0] * 64
    files[0] = files[2] = 0x1234
    table = kernel.make(
        "fdtable",
        {
            "max_fds": 64,
            "fd": kernel.raw(b"".join(f.to_bytes(8, "little") for f in files)),
            "open_fds": kernel.raw((0b101).to_bytes(8, "little")),
        },
    )
    cred = {"uid.val": 11, "euid.val": 12, "gid.val": 13, "egid.val": 14}
    return {
        "signal": kernel.make("signal_struct", {**ids, **limits}),
        "mm": mm,
        "files": kernel.make("files_struct", {"fdt": table}),
        "cred": kernel.make("cred", cred),
    }


def processes() -> Environment:
    """``shell`` (71, current) started by ``login`` (70), started by ``init`` (1)."""
    kernel, user = FakeKernel(), Memory()
    init = kernel.make("task_struct", {"tgid": 1, "pid": 1, "comm": b"init"})
    kernel.set(init, "task_struct", "real_parent", init)
    login = kernel.make(
        "task_struct", {"tgid": 70, "pid": 70, "comm": b"login", "real_parent": init,
                        "start_time": 2_000_000_000}
    )  # fmt: skip
    state = "__state" if kernel.has("task_struct", "__state") else "state"
    cpu = "thread_info.cpu" if kernel.has("thread_info", "cpu") else "cpu"
    shell = kernel.make(
        "task_struct",
        {
            "tgid": 71, "pid": 72, "comm": b"shell", "real_parent": login, state: 2, cpu: 3,
            "prio": 117, "static_prio": 125, "utime": 12_908_000_000, "stime": 66_851_000_000,
            "start_time": 3_456_000_000, "blocked.sig[0]": 1 << 14,
            **_process(kernel, user),
        },
    )  # fmt: skip
    root = _files(kernel)
    kernel.set(shell, "task_struct", "fs", root)
    _number(kernel, {1: init, 70: login, 72: shell})
    env = plain()
    env.kernel, env.user = kernel.memory, user
    env.task = Task(pid=71, tid=72, execname="shell", uid=11, gid=13, address=shell)
    PLACES.update(init=init, login=login, shell=shell)
    return env


def targeted() -> Environment:
    """The same with ``login`` the target."""
    env = processes()
    env.target = 70
    return env


def _number(kernel: FakeKernel, tasks: dict[int, int]) -> None:
    """The tree by which tasks are found by id, of two levels: ids up to 4095."""
    namespace = kernel.make("pid_namespace")
    leaves: dict[int, int] = {}
    top = kernel.make("xa_node", {"shift": 6})
    kernel.set(namespace, "pid_namespace", "idr.idr_rt.xa_head", top | 2)
    links = kernel.place("task_struct", "pid_links")[0]
    numbers = kernel.place("pid", "numbers")[0]
    for tid, task in tasks.items():
        pid = kernel.make("pid", {"tasks[0].first": task + links})
        kernel.memory.map(pid + numbers, bytes(kernel.size("upid")))
        kernel.memory.map(pid + numbers + 8, namespace.to_bytes(8, "little"))
        kernel.set(task, "task_struct", "thread_pid", pid)
        leaf = leaves.get(tid >> 6)
        if leaf is None:
            leaf = leaves[tid >> 6] = kernel.make("xa_node")
            kernel.set(top, "xa_node", f"slots[{tid >> 6}]", leaf | 2)
        kernel.set(leaf, "xa_node", f"slots[{tid & 63}]", pid)


def _dentry(kernel: FakeKernel, name: str, parent: int = 0) -> int:
    text = kernel.raw(name.encode() + b"\0")
    dentry = kernel.make("dentry", {"d_name.name": text, "d_parent": parent})
    if not parent:
        kernel.set(dentry, "dentry", "d_parent", dentry)
    return dentry


def _files(kernel: FakeKernel) -> int:
    """The fs_struct of a process in /srv; the file system of /srv is mounted there."""
    root = _dentry(kernel, "/")
    srv = _dentry(kernel, "srv", root)
    top = kernel.make("mount")
    vfsmount = kernel.place("mount", "mnt")[0]
    kernel.set(top, "mount", "mnt_parent", top)
    kernel.set(top, "mount", "mnt.mnt_root", root)
    data_root = _dentry(kernel, "/")
    data = kernel.make(
        "mount", {"mnt_parent": top, "mnt_mountpoint": srv, "mnt.mnt_root": data_root}
    )
    log = _dentry(kernel, "log", data_root)
    messages = _dentry(kernel, "messages", log)
    alias = kernel.place("dentry", "d_u.d_alias")[0]
    inode = kernel.make("inode", {"i_dentry.first": messages + alias})
    kernel.set(messages, "dentry", "d_inode", inode)
    PLACES.update(
        dentry=messages, file=kernel.make(
            "file", {"f_path.dentry": messages, "f_path.mnt": data + vfsmount}
        ), path=kernel.make("path", {"dentry": log, "mnt": data + vfsmount}),
        inode=inode, mount=data, vfsmount=data + vfsmount,
    )  # fmt: skip
    return kernel.make(
        "fs_struct",
        {"root.dentry": root, "root.mnt": top + vfsmount, "pwd.dentry": data_root,
         "pwd.mnt": data + vfsmount},
    )  # fmt: skip


PLACES: dict[str, int] = {}
"""Addresses of the objects made last, for ``@NAME@`` in scripts."""


def _connection(kernel: FakeKernel) -> int:
    inet = "inet_conn.icsk_inet"
    common = f"{inet}.sk.__sk_common"
    return kernel.make(
        "tcp_sock",
        {
            f"{inet}.inet_sport": 0x1500, f"{inet}.inet_saddr": 0x0100007F,
            f"{common}.skc_dport": 0xBB01, f"{common}.skc_daddr": 0x010200C0,
            f"{common}.skc_family": 2, f"{common}.skc_state": 1, "inet_conn.icsk_rto": 50,
            "inet_conn.icsk_ack.rcv_mss": 1448, "snd_cwnd": 10, "snd_ssthresh": 20,
        },
    )  # fmt: skip


def devices() -> Environment:
    """A disk with a partition, a network device, sockets, counters and a signal action."""
    kernel = FakeKernel()
    disk = kernel.make("gendisk", {"disk_name": b"nvme0n1"})
    plain_disk = kernel.make("gendisk", {"disk_name": b"sda"})
    number = "bd_partno" if kernel.has("block_device", "bd_partno") else "__bd_flags.counter"
    common = "sk.__sk_common"
    v4 = kernel.make(
        "inet_sock",
        {"inet_sport": 0x1500, "inet_saddr": 0x0100007F, f"{common}.skc_dport": 0xBB01,
         f"{common}.skc_daddr": 0x010200C0, f"{common}.skc_family": 2},
    )  # fmt: skip
    address = bytes.fromhex("20010db8000000000000000000000001")
    v6 = kernel.make(
        "inet_sock",
        {f"{common}.skc_family": 10, f"{common}.skc_v6_daddr": address,
         f"{common}.skc_v6_rcv_saddr": bytes(15) + b"\1"},
    )  # fmt: skip
    action = {"sa.sa_flags": 0x10000004, "sa.sa_handler": 1, "sa.sa_mask.sig[0]": 0b110}
    PLACES.update(
        disk=disk,
        part=kernel.make("block_device", {"bd_disk": plain_disk, number: 3}),
        whole=kernel.make("block_device", {"bd_disk": disk}),
        netdev=kernel.make("net_device", {"name": b"eth0"}),
        v4=v4, v6=v6, address=kernel.raw(address),
        mapped=kernel.raw(bytes(10) + b"\xff\xff\1\2\3\4"),
        atomic=kernel.raw((-5 % (1 << 64)).to_bytes(8, "little")),
        action=kernel.make("k_sigaction", action),
        bio=kernel.make("bio", {"bi_opf": 0x803}), tcp=_connection(kernel),
    )  # fmt: skip
    env = plain()
    env.kernel = kernel.memory
    env.user.map(0x1000, (1 << 8 | 1 << 63).to_bytes(8, "little"))
    return env


MACHINES: dict[str, Callable[[], Environment]] = {
    "plain": plain,
    "memory": memory,
    "utf": utf,
    "zone": zone,
    "processes": processes,
    "devices": devices,
    "targeted": targeted,
}
