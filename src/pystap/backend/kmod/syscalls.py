"""What the runtime must know of system calls to show them, as tables at file scope."""

from __future__ import annotations

from pystap.backend.kmod import tables
from pystap.backend.kmod.writer import quoted
from pystap.ir import ops
from pystap.ir.walk import owners, walk_body
from pystap.probes.syscall_numbers import decoded_numbers
from pystap.probes.syscall_table import IMPLIED_TABLES, Argument, Syscall, syscalls
from pystap.typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pystap.backend.kmod.unit import Unit

_INTRINSICS: Final = ("syscall_name", "syscall_argstr", "syscall_retstr")
_NAMES, _FLAGS, _MORE_FLAGS = "names", "flags", "more_flags"  # members of an argument
_MEMBERS: Final = {
    "flags": (_FLAGS,), "oflags": (_FLAGS,), "enum": (_NAMES,), "dirfd": (_NAMES,),
    "sockopt": (_NAMES,), "protocol": (_NAMES,), "sockaddr": (_NAMES,), "sigset": (_FLAGS,),
    "sigaction": (_FLAGS, _MORE_FLAGS),
}  # fmt: skip
_BY_PARAM: Final = ("flags", "oflags", "enum")  # the table is the kind's parameter
_BY_OTHER: Final = ("buf", "sockopt", "protocol", "openmode", "sockaddr")


def declare(unit: Unit) -> list[str]:
    """Lines that include the decoder and give it its tables; none when nobody asks for it."""
    nodes = (n for owner in owners(unit.module) for n in walk_body(owner.body))
    if not any(isinstance(n, ops.Intrinsic) and n.name in _INTRINSICS for n in nodes):
        return []
    wanted = decoded_numbers(unit.module)
    name = unit.prefix
    errors = tables.symbol_of(unit, "errno")
    rows = [_form(unit, call, wanted is None or call.number in wanted) for call in syscalls()]
    return [
        '#include "syscalls.h"',
        f"static const struct stap_syscall_form {name}syscall_forms[STAP_SYSCALL_SLOTS] = {{",
        *rows, "};",
        f"static const struct stap_syscall_table {name}syscalls = "
        f"{{ {name}syscall_forms, &{errors} }};",
    ]  # fmt: skip


def _form(unit: Unit, call: Syscall, whole: bool) -> str:
    """One element; without ``whole`` only the names of the call."""
    words = [quoted(call.name), quoted(call.point)]
    if whole:
        arguments = ", ".join(_argument(unit, a) for a in call.arguments)
        words += [str(len(call.arguments)), f"STAP_RESULT_{call.result.upper()}"]
        words += [f"{{ {arguments} }}"] if arguments else []
    return f"\t[{call.number}] = {{ {', '.join(words)} }},"


def _argument(unit: Unit, argument: Argument) -> str:
    kind = argument.kind
    words = [f".kind = STAP_KIND_{kind.upper()}"]
    if argument.width != "long":
        words.append(".narrow = true")
    if kind in _BY_OTHER:
        words.append(f".other = {argument.param}")
    names = (argument.param,) if kind in _BY_PARAM else IMPLIED_TABLES.get(kind, ())
    for member, name in zip(_MEMBERS.get(kind, ()), names, strict=True):
        words.append(f".{member} = &{tables.symbol_of(unit, name)}")
    return f"{{ {', '.join(words)} }}"
