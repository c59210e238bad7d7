"""What is mapped at an address of the current process: the kernel's own tree is searched.

Nothing has to be followed or kept, so the answer is right whenever the process began and whatever
it mapped since.  The tree of a process' mappings is a "maple tree" (``<linux/maple_tree.h>``, in
the kernel since 6.1).  It is read without its lock, which is what handlers can do anywhere: a
change at the same moment makes a mapping unknown, at worst.
"""

from __future__ import annotations

from pystap.backend.bpf import helpers
from pystap.backend.bpf.facts import X86_CS
from pystap.backend.bpf.scope import Scope, runtime_scope
from pystap.debuginfo.objecttable import NARROW_VDSO_INODE, VDSO_INODE
from pystap.typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pystap.backend.bpf.unit import Unit
    from pystap.backend.llvm.builder import FunctionBuilder, Operand, Value

# Words of what was found last: the mapping, where in its file it begins, and which file that is.
START: Final = 0
END: Final = 8
OFFSET: Final = 16  # in bytes
INODE: Final = 24
DEVICE: Final = 32
FILE: Final = 40  # address of the struct file, 0 for none
_SIZE: Final = 48
_AREA: Final = "mapping"
_NARROW_CODE: Final = 0x23  # code segment of 32 bits, __USER32_CS of <asm/segment.h>

_NODE_SIZE: Final = 256
_NODE_AREA: Final = "maple_node"
_DEEPEST: Final = 8  # a tree of 10^4 mappings has 4 levels
_ROOT_BITS, _ROOT_NODE = 3, 2  # lowest bits of the root, and what they are for a node
_TYPE_SHIFT, _TYPE_MASK = 3, 15
_LEAF: Final = 1  # node type: below it are the mappings
_ARANGE: Final = 3  # node type: inner nodes of a tree that knows its gaps
_RANGE_PIVOTS, _ARANGE_PIVOTS = 15, 9
_PAGE_SHIFT: Final = 12


class Reader:
    """Reads kernel memory in one function."""

    __slots__ = ("_b", "_u", "_word")

    def __init__(self, u: Unit, b: FunctionBuilder) -> None:
        self._u = u
        self._b = b
        self._word = b.alloca("i64")

    def word(self, address: Value, size: int = 8) -> Value:
        """A number, 0 where there is none."""
        b = self._b
        b.store(0, self._word)
        b.helper(helpers.PROBE_READ_KERNEL, "i64", self._word, size, address)
        return b.load("i64", self._word)

    def member(self, address: Value, struct: str, *path: str, size: int = 8) -> Value:
        """A member of a structure."""
        return self.word(address + self._u.facts.offset(struct, *path), size)


def found(s: Scope) -> Value:
    """Address of the words about the mapping found last."""
    return s.area(_AREA, _SIZE)


def find_mapping(s: Scope, index: Operand, address: Value) -> Value:
    """Emit the search for the mapping of an address: 1 when there is one."""
    name = s.u.function("user_mapping", ["index", "address"], lambda b: _emit_find(s.u, b))
    return s.b.call(name, index, address)


def offset_in_file(s: Scope, address: Value) -> Value:
    """The offset in its file of an address in the mapping found last."""
    where = found(s)
    b = s.b
    return address - b.load("i64", where, START) + b.load("i64", where, OFFSET)


def _emit_find(u: Unit, b: FunctionBuilder) -> None:
    index, address = b.args
    s = runtime_scope(u, b, index)
    reader = Reader(u, b)
    task = b.helper(helpers.GET_CURRENT_TASK, "i64")
    mm = reader.member(task, "task_struct", "mm")
    with b.if_(mm.eq(0)):
        b.ret(0)
    descend = u.function(
        "user_descend", ["index", "node", "kind", "address"], lambda fb: _emit_descend(u, fb)
    )
    entry = b.var("i64", reader.member(mm, "mm_struct", "mm_mt", "ma_root"))
    # A tree of one mapping has no node; elsewhere the node's type tells where the tree ends.
    inner = b.var("i64", (entry.get() & _ROOT_BITS).eq(_ROOT_NODE).zext("i64"))
    with b.for_range(0, _DEEPEST), b.if_(inner.get().ne(0)):
        kind = (entry.get() >> _TYPE_SHIFT) & _TYPE_MASK
        inner.set(kind.ugt(_LEAF).zext("i64"))
        entry.set(b.call(descend, index, entry.get() & ~0xFF, kind, address))
    area = entry.get()
    start = reader.member(area, "vm_area_struct", "vm_start")
    end = reader.member(area, "vm_area_struct", "vm_end")
    with b.if_(b.either(address.ult(start), address.uge(end))):
        b.ret(0)
    where = found(s)
    b.store(start, where, START)
    b.store(end, where, END)
    pages = reader.member(area, "vm_area_struct", "vm_pgoff")
    b.store(pages << _PAGE_SHIFT, where, OFFSET)
    _identify(s, reader, mm, start, reader.member(area, "vm_area_struct", "vm_file"))
    b.ret(1)


def _emit_descend(u: Unit, b: FunctionBuilder) -> None:
    """The entry of a node of a type that an address belongs to."""
    index, node, kind, address = b.args
    s = runtime_scope(u, b, index)
    content = s.area(_NODE_AREA, _NODE_SIZE)
    b.helper(helpers.PROBE_READ_KERNEL, "i64", content, _NODE_SIZE, node)
    slots = b.var("i64", 0)
    slot = b.var("i64", 0)
    with b.if_else(kind.eq(_ARANGE)) as (inner, leaf):
        with inner:
            name = "maple_arange_64"
            count = b.load("i8", content, u.facts.offset(name, "meta")).zext("i64")
            pivots = u.facts.offset(name, "pivot")
            slot.set(_slot(b, content, pivots, _ARANGE_PIVOTS, count, address))
            slots.set(u.facts.offset(name, "slot"))
        with leaf:
            name = "maple_range_64"
            pivots = u.facts.offset(name, "pivot")
            last = b.load("i64", content, pivots + 8 * (_RANGE_PIVOTS - 1))
            count = b.load("i8", content, u.facts.offset(name, "meta")).zext("i64")
            count = b.select(last.ne(0), _RANGE_PIVOTS, count)
            slot.set(_slot(b, content, pivots, _RANGE_PIVOTS, count, address))
            slots.set(u.facts.offset(name, "slot"))
    b.ret(Reader(u, b).word(node + slots.get() + (slot.get() << 3)))


def _slot(
    b: FunctionBuilder, content: Value, pivots: int, most: int, count: Value, address: Value
) -> Value:
    """How many of the first ``count`` pivots, the last addresses of slots, are below an address.

    Arithmetic instead of branches, which the verifier would follow separately; LLVM must not
    know what numbers these are, or it makes branches of it.
    """
    page = address >> _PAGE_SHIFT
    total = b.const("i64", 0)
    for number in range(most):
        pivot = b.load("i64", content, pivots + 8 * number) >> _PAGE_SHIFT
        within = b.barrier(b.const("i64", number) - count)
        total = total + ((b.barrier(pivot - page) & within) >> 63)
    return b.barrier(total)


def entered_narrow(reader: Reader, b: FunctionBuilder) -> Value:
    """Whether the task was in code of 32 bits when it entered the kernel."""
    current = b.helper(helpers.GET_CURRENT_TASK_BTF, "ptr")
    registers = b.helper(helpers.TASK_PT_REGS, "i64", current)
    return reader.word(registers + X86_CS).eq(_NARROW_CODE)


def _identify(s: Scope, reader: Reader, mm: Value, start: Value, file: Value) -> None:
    """Note which file is mapped."""
    b = s.b
    where = found(s)
    b.store(file, where, FILE)
    b.store(0, where, INODE)
    b.store(0, where, DEVICE)
    with b.if_else(file.eq(0)) as (nameless, named):
        with nameless:
            vdso = reader.member(mm, "mm_struct", "context", "vdso")
            which = b.select(entered_narrow(reader, b), NARROW_VDSO_INODE, VDSO_INODE)
            b.store(b.select(vdso.eq(start), which, 0), where, INODE)
        with named:
            inode = reader.member(file, "file", "f_inode")
            b.store(reader.member(inode, "inode", "i_ino"), where, INODE)
            system = reader.member(inode, "inode", "i_sb")
            b.store(reader.member(system, "super_block", "s_dev", size=4), where, DEVICE)
