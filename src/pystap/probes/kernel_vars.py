"""``@var("name")`` of kernel variables.

BTF has variables with their types, in most kernels the per-CPU ones only; where they are is told
by /proc/kallsyms.
"""

from __future__ import annotations

from pystap.debuginfo import btftypes as t
from pystap.lang import ast
from pystap.lang.tokens import Token
from pystap.probes.core import CoreIntrinsic, CoreLoad
from pystap.probes.target import Place, binary, error, expand, number
from pystap.typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pystap.debuginfo.btf import Btf
    from pystap.probes.base import ProbeEnv

_KALLSYMS: Final = "/proc/kallsyms"


def expand_var(node: ast.AtVar, env: ProbeEnv) -> ast.Expr:
    """``@var("name")`` of a kernel variable.

    BTF describes per-CPU variables (and, in some kernels, others); the current CPU's is read.
    """
    from pystap.debuginfo.btf import KIND_VAR

    btf = _btf_of(node.module, env, node.tok)
    name = node.target.partition("@")[0]
    type_id = btf.find(name, KIND_VAR)
    if type_id is None:
        where = f" in {node.module}" if node.module else ""
        raise error(
            f"unable to find global variable '{node.target}'{where}",
            node.tok,
            hint="BTF describes per-CPU variables only; @defined() tells whether one can be read",
        )
    view = btf.type(type_id)
    assert isinstance(view, t.Var)
    addr = _variable_address(btf, type_id, name, node.tok)
    place = Place(addr, btf, view.type, "kernel", True)
    return expand(place, node.components, node.tok, node.address_of)


def _variable_address(btf: Btf, var_id: int, name: str, tok: Token) -> ast.Expr:
    """The address of a variable; of the current CPU's instance when it is per CPU."""
    from pystap.debuginfo.kallsyms import Kallsyms

    symbols = Kallsyms(_KALLSYMS)
    found = symbols.addresses(name)
    offsets = symbols.addresses("__per_cpu_offset")
    per_cpu = _is_per_cpu(btf, var_id)
    if not found or (per_cpu and not offsets):
        raise error(
            f"the kernel does not tell the address of '{name}'",
            tok,
            hint="/proc/kallsyms shows data to root only, if built with CONFIG_KALLSYMS_ALL",
        )
    start = number(_signed(found[0]), tok)
    if not per_cpu:
        return start
    cpu = CoreIntrinsic(tok=tok, type="long", name="cpu")
    distance = binary("*", cpu, number(8, tok), tok)
    slot = binary("+", number(_signed(offsets[0]), tok), distance, tok)
    offset = CoreLoad(tok=tok, type="long", addr=slot, space="kernel", size=8, signed=False)
    return binary("+", offset, start, tok)


def _is_per_cpu(btf: Btf, var_id: int) -> bool:
    from pystap.kernel.btfwriter import KIND_DATASEC

    section = btf.find(".data..percpu", KIND_DATASEC)
    if section is None:
        return False
    view = btf.type(section)
    return isinstance(view, t.Datasec) and any(entry[0] == var_id for entry in view.variables)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _btf_of(module: str | None, env: ProbeEnv, tok: Token) -> Btf:
    from pystap.debuginfo.btf import BtfMissing

    btf = env.btf()
    if module in (None, "", "kernel", "vmlinux"):
        return btf
    try:
        return btf.module(str(module).removesuffix(".ko"))
    except BtfMissing as problem:
        raise error(f"no type information for module '{module}': {problem}", tok) from None
