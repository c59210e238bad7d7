"""``@var("name[@unit]"[, "module"])`` of kernel variables.

BTF has variables with their types, in most kernels the per-CPU ones only; where they are is told
by /proc/kallsyms.  Debug information has all, where there is some.
"""

from __future__ import annotations

from pystap.debuginfo import btftypes as t
from pystap.lang import ast
from pystap.lang.tokens import Token
from pystap.longs import signed
from pystap.probes.target import Place, error, expand, number
from pystap.probes.user_debug import debug_files
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

    module = "" if node.module in (None, "kernel", "vmlinux") else str(node.module)
    name = node.target.partition("@")[0]
    btf = _btf_of(module, env)
    type_id = None if btf is None else btf.find(name, KIND_VAR)
    if btf is None or type_id is None:
        described = _described(node, module, env)
        if described is not None:
            return expand(described, node.components, node.tok, node.address_of)
        raise _unknown(node, module, env)
    view = btf.type(type_id)
    assert isinstance(view, t.Var)
    addr = _variable_address(btf, type_id, name, env, node.tok)
    place = Place(addr, btf, view.type, "kernel", True)
    return expand(place, node.components, node.tok, node.address_of)


def _variable_address(btf: Btf, var_id: int, name: str, env: ProbeEnv, tok: Token) -> ast.Expr:
    """The address of a variable; of the current CPU's instance when it is per CPU."""
    from pystap.debuginfo.btf import KIND_VAR
    from pystap.probes.kernel_addresses import OFFSETS, on_this_cpu, place_of

    per_cpu = _is_per_cpu(btf, var_id)
    if env.runtime == "kernel":
        of_kernel = env.btf().find(name, KIND_VAR) is not None
        start = place_of(name, "" if of_kernel else btf.name, tok)
        return on_this_cpu(place_of(OFFSETS, "", tok), start, tok) if per_cpu else start
    found = _told(name, env, tok)
    return on_this_cpu(_told(OFFSETS, env, tok), found, tok) if per_cpu else found


def _told(name: str, env: ProbeEnv, tok: Token) -> ast.Expr:
    """The address of a symbol, by what the kernel that runs tells."""
    from pystap.debuginfo.kallsyms import Kallsyms
    from pystap.probes.kernel_addresses import BOOT

    found = Kallsyms(_KALLSYMS).addresses(name)
    if not found:
        raise error(
            f"the kernel does not tell the address of '{name}'",
            tok,
            hint="/proc/kallsyms shows data to root only, if built with CONFIG_KALLSYMS_ALL",
        )
    debug_files(env).files.setdefault(BOOT)  # the address holds as long
    return number(signed(found[0]), tok)


def _is_per_cpu(btf: Btf, var_id: int) -> bool:
    from pystap.kernel.btfwriter import KIND_DATASEC

    section = btf.find(".data..percpu", KIND_DATASEC)
    if section is None:
        return False
    view = btf.type(section)
    return isinstance(view, t.Datasec) and any(entry[0] == var_id for entry in view.variables)


def _btf_of(module: str, env: ProbeEnv) -> Btf | None:
    """The kernel's, a module's, or None when there is none."""
    from pystap.debuginfo.btf import BtfMissing

    try:
        btf = env.btf()
        return btf.module(module.removesuffix(".ko")) if module else btf
    except BtfMissing:
        return None


def _described(node: ast.AtVar, module: str, env: ProbeEnv) -> Place | None:
    """The variable by debug information, None when there is none that knows it."""
    from pystap.debuginfo import dwarfconst as c
    from pystap.debuginfo.dwarfplaces import file_fits
    from pystap.probes.kernel_addresses import address_now
    from pystap.probes.kernel_debug import local_image
    from pystap.probes.locations import NoLocation

    image = local_image(module, env)
    name, _, unit = node.target.partition("@")
    if image is None or not image.has_variable(name):
        return None
    for die in image.info.names.variables(name):
        ops = die.location(c.AT_LOCATION, 0)  # a mere declaration has none
        if not ops or ops[0].code != c.OP_ADDR or (unit and not file_fits(die.unit().name, unit)):
            continue
        try:
            addr = address_now(image, ops[0].number, 0, None, node.tok)
        except NoLocation as reason:
            raise error(f"'{node.target}' is not accessible: {reason}", node.tok) from None
        types = image.info.types
        return Place(addr, types, types.id_of(die.type()), "kernel", True)
    return None


def _unknown(node: ast.AtVar, module: str, env: ProbeEnv) -> Exception:
    from pystap.probes.kernel_debug import local_image

    if module and _btf_of(module, env) is None and local_image(module, env) is None:
        return error(f"no type information for module '{module}'", node.tok)
    where = f" in {node.module}" if node.module else ""
    hint = "@defined() tells whether one can be read"
    if local_image(module, env) is None:
        hint = f"BTF describes per-CPU variables only, debug information all; {hint}"
    return error(f"unable to find global variable '{node.target}'{where}", node.tok, hint=hint)
