"""What pass 4 must know of the kernel it compiles for."""

from __future__ import annotations

from pystap.typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from pystap.debuginfo.btf import Btf

# Offsets of the registers in x86-64's struct pt_regs, by DWARF register number (System V ABI,
# processor supplement, figure 3.36; <asm/ptrace.h>).
X86_PT_REGS = (80, 96, 88, 40, 104, 112, 32, 152, 72, 64, 56, 48, 24, 16, 8, 0, 128)
X86_ORIG_AX = 120
X86_CS = 136
# The other registers that can be asked for by DWARF number: flags, cs, ss (figure 3.36).
X86_FURTHER = {49: 144, 51: X86_CS, 52: 160}
# DWARF numbers of the registers that carry arguments: of functions, and of system calls.
X86_FUNCTION_ARGS = (5, 4, 1, 2, 8, 9)
X86_SYSCALL_ARGS = (5, 4, 1, 10, 8, 9)


class TracepointId(NamedTuple):
    """Where a tp_btf program attaches: a type id, and the module whose BTF holds it ("": kernel).

    ``nullable`` are the indexes of arguments the kernel may pass as NULL; ``opaque`` those that
    older verifiers (6.1) let no program load: pointers to other than structures and integers.
    """

    btf_id: int
    module: str = ""
    nullable: tuple[int, ...] = ()
    opaque: tuple[int, ...] = ()


class CompileError(Exception):
    """The program cannot be made for this kernel; the message says what is missing."""


class KernelFacts:
    """The running kernel.  ``cpus`` is the number of possible CPUs; ``btf`` opens its BTF;
    ``has`` tells whether there is a feature of :mod:`pystap.kernel.features`.

    Look-ups read BTF lazily: a program without tracepoints never opens it.
    """

    __slots__ = ("_btf", "_open", "cpus", "has")

    def __init__(
        self, cpus: int, btf: Callable[[], Btf], has: Callable[[str], bool] | None = None
    ) -> None:
        self.cpus = cpus
        self.has = has or _has_nothing
        self._open = btf
        self._btf: Btf | None = None

    @property
    def ordered_stores(self) -> bool:
        """Whether other CPUs see stores in program order."""
        return True

    @property
    def btf(self) -> Btf:
        """The kernel's BTF, opened at first use."""
        if self._btf is None:
            self._btf = self._open()
        return self._btf

    def tracepoint(self, name: str) -> TracepointId:
        """BTF id of a tracepoint; :class:`CompileError` when the kernel has none."""
        found = self.btf.tracepoint(name)
        if found is None:
            raise CompileError(f"the kernel's BTF has no tracepoint '{name}'")
        module = "" if found.btf.name == "vmlinux" else found.btf.name
        params = found.params()
        nullable = tuple(i for i, p in enumerate(params) if p.nullable)
        opaque = tuple(i for i, p in enumerate(params) if _is_opaque(found.btf, p.type))
        return TracepointId(found.typedef_id, module, nullable, opaque)

    def hook(self, name: str) -> TracepointId:
        """The same for a hook of the security modules."""
        from pystap.debuginfo.btf import KIND_FUNC

        function = f"bpf_lsm_{name}"
        proto, found = self.btf.func(function), self.btf.find(function, KIND_FUNC)
        if proto is None or found is None:
            raise CompileError(f"the kernel's BTF has no security hook '{name}'")
        opaque = tuple(i for i, p in enumerate(proto.params) if _is_opaque(self.btf, p.type))
        return TracepointId(found, opaque=opaque)

    def function(self, name: str, module: str = "") -> int:
        """BTF id of a function of the kernel or of a module.

        :class:`CompileError` when there is none.
        """
        from pystap.debuginfo.btf import KIND_FUNC

        btf = self.btf.module(module) if module else self.btf
        found = btf.find(name, KIND_FUNC)
        if found is None:
            raise CompileError(f"the kernel's BTF has no function '{name}'")
        return found

    def offset(self, struct: str, *path: str) -> int:
        """Offset in bytes of a (nested) member; :class:`CompileError` when there is none."""
        from pystap.debuginfo.btf import KIND_STRUCT

        type_id = self.btf.find(struct, KIND_STRUCT)
        total = 0
        for name in path:
            member = None if type_id is None else self.btf.member(type_id, name)
            if member is None:
                raise CompileError(f"the kernel's BTF has no member '{name}' in '{struct}'")
            type_id, bits, _ = member
            total += bits // 8
        return total


def _is_opaque(btf: Btf, type_id: int) -> bool:
    """Whether a type is a pointer that the verifier makes neither a number nor an object of."""
    from pystap.debuginfo.btftypes import Int, Ptr, Struct

    view = btf.type(btf.resolve(type_id))
    if not isinstance(view, Ptr) or view.target == 0:
        return False
    return not isinstance(btf.type(btf.resolve(view.target)), (Int, Struct))


def _has_nothing(_feature: str) -> bool:
    return False


def running_kernel() -> KernelFacts:
    """Facts of the kernel this runs on."""
    from pystap.kernel.cpu import possible_cpus

    def open_btf() -> Btf:
        from pystap.debuginfo.btf import Btf

        return Btf.open()

    return KernelFacts(max(possible_cpus()) + 1, open_btf)
