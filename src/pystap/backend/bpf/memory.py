"""Reading and writing memory by address."""

from __future__ import annotations

from pystap.backend.bpf import emit, helpers
from pystap.backend.bpf.errors import raise_error
from pystap.backend.bpf.facts import CompileError
from pystap.backend.bpf.faulting import read_memory
from pystap.ir import errors, ops
from pystap.typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pystap.backend.bpf.scope import Scope
    from pystap.backend.llvm.builder import Value

READ: Final = {"kernel": helpers.PROBE_READ_KERNEL, "user": helpers.PROBE_READ_USER}
READ_STRING: Final = {
    "kernel": helpers.PROBE_READ_KERNEL_STR,
    "user": helpers.PROBE_READ_USER_STR,
}
FAULTS: Final = {"kernel": errors.KERNEL_READ_FAULT, "user": errors.USER_READ_FAULT}


def read_bytes(s: Scope, space: str, size: int, address: Value) -> tuple[Value, Value]:
    """Emit a read of 1 to 8 bytes: the helper's result (0: fine), and the bytes as ``i64``."""
    b = s.b
    word = s.word()
    b.store(0, word)
    result = read_memory(s.u, b, READ[space], word, size, address)
    return result, b.load("i64", word)


@emit.emits_long(ops.Load)
def _load(s: Scope, e: ops.Load) -> Value:
    b = s.b
    address = emit.long(s, e.addr)
    result, word = read_bytes(s, e.space, e.size, address)
    if e.pos >= 0:
        with b.if_(result.ne(0)):
            raise_error(s, FAULTS[e.space], e.pos, address)
    bits = e.bit_size or e.size * 8
    if bits == 64:
        return word
    # The field's highest bit goes to bit 63, and back with zeros or copies of it.
    word = word << (64 - bits - e.bit_offset)
    return word.sar(64 - bits) if e.signed else word >> (64 - bits)


@emit.emits_statement(ops.Store)
def _store(s: Scope, e: ops.Store) -> None:
    if e.space == "kernel":
        where = s.u.module.positions[e.pos].text() if e.pos >= 0 else ""
        raise CompileError(f"the bpf runtime cannot write to the kernel's memory: {where}")
    address, value = emit.long(s, e.addr), emit.long(s, e.value)
    write(s, e.space, address, e.size, value, e.pos)


def write(s: Scope, space: str, address: Value, size: int, value: Value, pos: int) -> None:
    """Emit a write of the low bytes of a number; a fault is a run-time error."""
    b = s.b
    if space == "kernel":  # BPF has no way to do it
        raise_error(s, errors.KERNEL_WRITE_FAULT, pos, address)
        return
    word = b.alloca("i64")
    b.store(value, word)
    result = b.helper(helpers.PROBE_WRITE_USER, "i64", address, word, size)
    with b.if_(result.ne(0)):
        raise_error(s, errors.USER_WRITE_FAULT, pos, address)
