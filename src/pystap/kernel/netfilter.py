"""Programs of packet hooks (``BPF_PROG_TYPE_NETFILTER``).

They may do little but judge the packet.  So the one made here lets every packet pass, and what
watches is a tracing program at its entry.  Facts: ``<linux/bpf.h>``, ``<linux/netfilter.h>``.
"""

from __future__ import annotations

import errno
import struct

from pystap.kernel.bpf import LINK_CREATE, BpfError, bpf, pack
from pystap.kernel.btfwriter import LINKAGE_GLOBAL, BtfWriter, pack_func_info
from pystap.kernel.links import Link
from pystap.kernel.programs import Program, load_btf, load_program

_NETFILTER = 32  # enum bpf_prog_type
_ATTACH_NETFILTER = 45  # enum bpf_attach_type
_ACCEPT = 1  # NF_ACCEPT
_FIRST, _LAST = -(1 << 31) + 1, (1 << 31) - 2  # priorities that programs may have
_NEAR = 64  # priorities that are tried
#: ``r0 = 1; exit``
_CODE = struct.pack("<BBhiBBhi", 0xB7, 0, 0, _ACCEPT, 0x95, 0, 0, 0)


def load_passing_program() -> tuple[Program, int]:
    """A loaded program that lets packets pass, and the BTF id of its function.

    The function's argument is a pointer to the kernel's ``struct bpf_nf_ctx``.  Raises
    :class:`~pystap.kernel.bpf.BpfError` where the kernel has no such programs.
    """
    types = BtfWriter()
    number = types.integer("int", 4, 1)
    context = types.pointer(types.struct("bpf_nf_ctx", 16, []))
    prototype = types.prototype(number, [("ctx", context)])
    function = types.function("stap_packet", prototype, LINKAGE_GLOBAL)
    with load_btf(types.blob()) as btf:
        program = load_program(
            _NETFILTER,
            _CODE,
            name="stap_packet",
            expected_attach_type=_ATTACH_NETFILTER,
            btf_fd=btf.fd,
            func_info=pack_func_info([(0, function)]),
        )
    return program, function


def attach_netfilter(program_fd: int, family: int, hook: int, priority: int) -> Link:
    """Put a program at a hook.

    The kernel takes one program for a priority, and none for the first and the last: the next
    that is free is taken.
    """
    priority = min(max(priority, _FIRST), _LAST)
    for free in range(priority, min(priority + _NEAR, _LAST) + 1):
        values = (program_fd, 0, _ATTACH_NETFILTER, 0, family, hook, free, 0)
        try:
            return Link(bpf(LINK_CREATE, pack("IIIIIIiI16x", *values)))
        except BpfError as error:
            if error.errno not in (errno.EBUSY, errno.EEXIST) or free == _LAST:
                raise
    raise BpfError(errno.EBUSY, "BPF_LINK_CREATE")
