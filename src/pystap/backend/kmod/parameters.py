"""The script's scalar variables as parameters of the module: ``staprun MODULE.ko x=5``."""

from __future__ import annotations

from pystap.backend.kmod.unit import Unit
from pystap.backend.kmod.writer import quoted
from pystap.ir.types import Global, Ty


def parameters(unit: Unit) -> list[str]:
    """Lines for every variable that can be set when the module is loaded.

    Written without the kernel's macros, which would take a variable called ``current`` for theirs.
    """
    lines = []
    seen: set[str] = set()
    for var in unit.module.globals:
        if var.settable and var.name not in seen:
            seen.add(var.name)
            lines += _parameter(unit, var)
    return ['#include "parameters.h"', *lines] if lines else []


def _parameter(unit: Unit, var: Global) -> list[str]:
    name = f"{unit.prefix}parameter{var.index}"
    where = unit.global_name(var)
    if var.value is Ty.LONG:
        kind, ops, value = "long", "stap_number_ops", f".arg = &{where}"
        text = []
    else:
        kind, ops, value = "string", "param_ops_string", f".str = &{name}_text"
        text = [f"static struct kparam_string {name}_text = {{ sizeof({where}), {where} }};"]
    return [
        *text,
        f"static const struct kernel_param {name} STAP_PARAMETER = {{",
        f"\t.name = {quoted(var.name)}, .mod = THIS_MODULE, .ops = &{ops}, .level = -1,",
        f"\t{value},", "};",
        f"static const char {name}_info[] STAP_MODINFO = "
        f"{quoted(f'parmtype={var.name}:{kind}')};",
    ]  # fmt: skip
