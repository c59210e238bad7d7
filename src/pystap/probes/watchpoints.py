"""``kernel.data`` and ``process.data``: hardware watchpoints on memory."""

from __future__ import annotations

from pystap.lang import ast
from pystap.probes.attach import AT_LOAD, Watchpoint
from pystap.probes.base import Match, NoContext, ProbeEnv
from pystap.probes.shapes import ShapeMatch, bad_point, component_tok, point_text
from pystap.typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from pystap.lang.tokens import Token

_Access = Literal["write", "rw"]
_ACCESS: Final[dict[str, _Access]] = {"write": "write", "rw": "rw"}
_LENGTHS: Final = (1, 2, 4, 8)  # of x86-64's debug registers
_DEFAULT_LENGTH: Final = 8
_WORD: Final = (1 << 64) - 1


def watchpoint_matches(found: ShapeMatch, point: ast.ProbePoint, env: ProbeEnv) -> list[Match]:
    """The memory a shape names; raises for what the processor cannot watch."""
    names, args = found.names(), found.by_name()
    tok = component_tok(point, 1)
    access = _ACCESS[names[-1]]
    where = args["data"]
    if isinstance(where, str):
        attach = _of_symbol(where, access, point, env)
        return [Match([(found.text(), attach)], NoContext("watchpoint", registers=True))]
    assert isinstance(where, int)  # the shape says so
    address, length = where & _WORD, args.get("length")
    if length is None:
        length = next(n for n in reversed(_LENGTHS) if address % n == 0)
    if length not in _LENGTHS:
        lengths = ", ".join(map(str, _LENGTHS))
        raise bad_point(f"a watchpoint is {lengths} bytes long, not {length}", tok)
    assert isinstance(length, int)
    if address % length:
        raise bad_point(
            f"a watchpoint of {length} bytes begins at a multiple of {length}, not {address:#x}",
            tok,
        )
    in_process = names[0] == "process"
    if in_process and not env.has_target:
        raise bad_point("whose memory? process.data needs -c or -x", tok)
    attach = Watchpoint(address, length, access, target_only=in_process)
    text = point_text(names, found.args).replace(f"data({where})", f"data({address:#x})")
    return [Match([(text, attach)], NoContext("watchpoint", registers=True))]


def _of_symbol(name: str, access: _Access, point: ast.ProbePoint, env: ProbeEnv) -> Watchpoint:
    """The beginning of a variable of the kernel, as much of it as a watchpoint can hold."""
    from pystap.probes.kernel_debug import runs

    length = _length_of(name, component_tok(point, 1)) if runs(env) else AT_LOAD
    return Watchpoint(0, length, access, symbol=name)


def _length_of(name: str, tok: Token) -> int:
    """How much of a variable of the kernel that runs can be watched."""
    from pystap.debuginfo.kallsyms import Kallsyms
    from pystap.diag.suggest import suggest

    symbols = Kallsyms()
    found = symbols.addresses(name)
    if not found:
        why = f"the kernel has no variable '{name}'"
        hint: str | None = "/proc/kallsyms shows data if built with CONFIG_KALLSYMS_ALL"
        if symbols.has(name):
            why = f"the kernel does not tell where '{name}' is"
        elif near := suggest(name, symbols.names()):
            hint = f"did you mean {' or '.join(near)}?"
        raise bad_point(why, tok, hint=hint)
    symbol = symbols.lookup(found[0])
    if symbol is None:
        raise bad_point(f"'{name}' is a per-CPU variable and cannot be watched", tok)
    most = symbol.size or _DEFAULT_LENGTH
    return next(n for n in reversed(_LENGTHS) if found[0] % n == 0 and n <= max(most, 1))
