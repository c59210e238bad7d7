"""A server of NFS for this machine, and clients that mount what it exports; without the tools that
usually do it, through the files that those write to.

Facts: nfsd(7), exports(5), the caches of sunrpc (Documentation/filesystems/nfs/rpc-cache.rst),
struct nfs_mount_data (linux/nfs_mount.h), RFC 1833 (rpcbind), RFC 5531 (record marking).
"""

import contextlib
import ctypes
import fcntl
import mmap
import os
import socket
import struct
import subprocess
import threading
import time

EXPORTED = "/run/nfs-exported"
INSECURE, ASYNC, NO_SUBTREE, HAS_FSID = 0x2, 0x10, 0x400, 0x2000
VERSION_3, OVER_TCP, NO_LOCKS = 0x80, 0x40, 0x200
PROGRAM, NUMBER = 100003, 0x12345678
ADDRESS = ("127.0.0.1", 2049)
libc = ctypes.CDLL(None, use_errno=True)


def mount(source: str, place: str, kind: str, data: bytes | None = None) -> None:
    """mount(2)."""
    os.makedirs(place, exist_ok=True)
    if libc.mount(source.encode(), place.encode(), kind.encode(), 0, data) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), place)


def put(path: str, text: str) -> None:
    """One write to a file of the kernel's."""
    file = os.open(path, os.O_WRONLY)
    os.write(file, text.encode())
    os.close(file)


def agree(listener: socket.socket) -> None:
    """An rpcbind that says yes to everything."""
    while True:
        peer, _ = listener.accept()
        while len(head := peer.recv(4, socket.MSG_WAITALL)) == 4:
            size = struct.unpack("!I", head)[0] & 0x7FFFFFFF
            call = peer.recv(size, socket.MSG_WAITALL)
            peer.sendall(struct.pack("!I4s6I", 1 << 31 | 28, call[:4], 1, 0, 0, 0, 0, 1))
        peer.close()


def serve() -> str:
    """Start the server; the handle of what it exports."""
    subprocess.run(["modprobe", "-a", "nfsd", "nfsv3", "nfsv4"], check=True)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    binder = socket.socket(socket.AF_UNIX)
    binder.bind("/var/run/rpcbind.sock")
    binder.listen()
    threading.Thread(target=agree, args=(binder,), daemon=True).start()
    os.makedirs("/var/lib/nfs/v4recovery", exist_ok=True)
    mount("none", EXPORTED, "tmpfs")
    os.chmod(EXPORTED, 0o777)
    if not os.path.exists("/proc/fs/nfsd/threads"):
        mount("none", "/proc/fs/nfsd", "nfsd")
    until = int(time.time()) + 100_000
    flags = INSECURE | ASYNC | NO_SUBTREE | HAS_FSID
    put("/proc/net/rpc/auth.unix.ip/channel", f"nfsd 127.0.0.1 {until} here\n")
    put("/proc/net/rpc/nfsd.export/channel", f"here {EXPORTED} {until} {flags} 65534 65534 0\n")
    put("/proc/net/rpc/nfsd.fh/channel", f"here 1 \\x00000000 {until} {EXPORTED}\n")
    put("/proc/fs/nfsd/versions", "+3 +4 +4.1 +4.2\n")
    put("/proc/fs/nfsd/nfsv4gracetime", "10\n")
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(ADDRESS)
    listener.listen()
    put("/proc/fs/nfsd/portlist", f"{listener.fileno()}\n")
    by_packets = socket.socket(type=socket.SOCK_DGRAM)
    by_packets.bind(ADDRESS)
    put("/proc/fs/nfsd/portlist", f"{by_packets.fileno()}\n")
    put("/proc/fs/nfsd/threads", "2\n")
    put("/proc/fs/nfsd/v4_end_grace", "Y\n")
    with open("/proc/fs/nfsd/filehandle", "r+") as file:
        file.write(f"here {EXPORTED} 64\n")
        file.flush()
        file.seek(0)
        return file.read().strip()


def mount_3(place: str, handle: str) -> None:
    """Mount by version 3: with a handle nobody need be asked for one."""
    raw = bytes.fromhex(handle.replace("\\x", ""))
    flags = VERSION_3 | OVER_TCP | NO_LOCKS
    data = struct.pack("ii32s9i", 6, 0, b"", flags, 4096, 4096, 7, 3, 3, 3, 3, 3)
    data += struct.pack("=H", socket.AF_INET) + struct.pack("!H", ADDRESS[1])
    data += socket.inet_aton(ADDRESS[0]) + bytes(8)
    data += struct.pack("256sii", ADDRESS[0].encode(), 255, 0)
    data += struct.pack("=H64s2xi257s", len(raw), raw, 1, b"")
    mount("127.0.0.1:/", place, "nfs", data.ljust(4096, b"\0"))


def use(place: str) -> None:
    """What the probes are to see."""
    file = os.open(place + "/data", os.O_RDWR | os.O_CREAT, 0o640)
    os.write(file, b"x" * 5000)
    os.fsync(file)
    os.close(file)
    file = os.open(place + "/data", os.O_RDONLY)
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    os.lseek(file, 100, os.SEEK_SET)
    assert len(os.read(file, 9000)) == 4900
    print("used", place, os.fstat(file).st_ino, flush=True)
    with mmap.mmap(file, 4096, prot=mmap.PROT_READ) as page:
        assert page[:1] == b"x"
    fcntl.lockf(file, fcntl.LOCK_SH, 300, 20)
    os.close(file)
    os.rename(place + "/data", place + "/other")
    assert not os.path.exists(place + "/absent")
    os.remove(place + "/other")


def confuse() -> None:
    """Send the server what is neither a call nor a reply: dropped; then call nothing, which is
    answered, so that the other was worked on."""
    with socket.socket(type=socket.SOCK_DGRAM) as sender:
        sender.connect(ADDRESS)
        sender.send(struct.pack("!10I", NUMBER, 7, 2, PROGRAM, 3, 0, 0, 0, 0, 0))
        sender.send(struct.pack("!10I", NUMBER + 1, 0, 2, PROGRAM, 3, 0, 0, 0, 0, 0))
        assert sender.recv(100)[:4] == struct.pack("!I", NUMBER + 1)


def names_of_processes() -> set[str]:
    """Those of kernel threads, too."""
    names = set()
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{entry}/comm") as file:
                names.add(file.read().strip())
    return names


handle = serve()
confuse()
mount_3("/run/nfs-3", handle)
options = b"vers=4.2,addr=127.0.0.1,clientaddr=127.0.0.1,rsize=4096,wsize=4096"
mount("127.0.0.1:/", "/run/nfs-4", "nfs4", options)
for mounted in ("/run/nfs-3", "/run/nfs-4"):
    use(mounted)
    subprocess.run(["umount", mounted], check=True)
put("/proc/fs/nfsd/threads", "0\n")
for _ in range(400):  # the last of its threads takes the server down
    if "nfsd" not in names_of_processes():
        break
    time.sleep(0.05)
subprocess.run(["umount", EXPORTED], check=True)
os.unlink("/var/run/rpcbind.sock")
