"""Globals as C: their memory, what makes it, and their locks."""

from __future__ import annotations

from pystap.backend.kmod.writer import number, quoted
from pystap.ir.types import Global, Ty
from pystap.output.histogram import linear_buckets
from pystap.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pystap.backend.kmod.unit import Unit


def declare_globals(unit: Unit) -> list[str]:
    """Lines that declare every global."""
    lines = [f"static struct stap_lock {unit.prefix}locks[{max(len(unit.module.globals), 1)}];"]
    for var in unit.module.globals:
        if var.stats is not None:
            lines.append(_spec(unit, var))
        if var.kind == "array":
            lines += _array(unit, var)
        elif var.stats is not None:
            name, spec = unit.global_name(var), unit.spec_name(var)
            lines.append(f"static struct stap_scalar_stat {name} = {{ .spec = &{spec} }};")
        else:
            lines.append(_scalar(unit, var))
    return [*lines, "", *_life(unit)]


def _scalar(unit: Unit, var: Global) -> str:
    name = unit.global_name(var)
    if var.value is Ty.LONG:
        return f"static atomic64_t {name} = ATOMIC64_INIT({number(int(var.init))});"
    init = str(var.init) if var.init else ""
    return f"static char {name}[{unit.size_of(var)}] = {quoted(init)};"


def _spec(unit: Unit, var: Global) -> str:
    stats = var.stats
    assert stats is not None
    start, stop, step = stats.linear or (0, 0, 1)
    buckets = linear_buckets(start, stop, step) if stats.linear else 0
    log, deviation = int("hist_log" in stats.parts), int("variance" in stats.parts)
    return (
        f"static const struct stap_stat_spec {unit.spec_name(var)} = {{ {log}, {deviation}, "
        f"{stats.shift}, {buckets}, {number(start)}, {number(stop)}, {number(step)} }};"
    )


def _array(unit: Unit, var: Global) -> list[str]:
    name = unit.global_name(var)
    members, parts = [], []
    for index, ty in enumerate(var.keys):
        size = 0 if ty is Ty.LONG else unit.key_size(var, index)
        members.append(
            f"\ts64 k{index};" if not size else f"\tchar k{index}[{size}] __aligned(8);"
        )
        parts.append(f"{{ offsetof(struct {name}_key, k{index}), {size} }}")
    if var.stats is not None:
        value_size = "0"  # set when the session begins
    else:
        value_size = "8" if var.value is Ty.LONG else str(unit.size_of(var))
    wrap = "true" if var.wrap else "false"
    return [
        f"struct {name}_key {{", *members, "};",
        f"static const struct stap_key_part {name}_parts[] = {{ {', '.join(parts)} }};",
        f"static struct stap_map {name} = {{", f"\t.name = {quoted(var.name)},",
        f"\t.parts = {name}_parts,", f"\t.part_count = {len(var.keys)},",
        f"\t.key_size = sizeof(struct {name}_key),",
        f"\t.value_at = sizeof(struct {name}_key),", f"\t.value_size = {value_size},",
        f"\t.capacity = {var.capacity},", f"\t.wrap = {wrap},", "};",
    ]  # fmt: skip


def _life(unit: Unit) -> list[str]:
    """The functions that make and free the memory of globals."""
    make, free = [], []
    for var in unit.module.globals:
        name = unit.global_name(var)
        if var.kind == "array":
            if var.stats is not None:
                make.append(f"\t{name}.value_size = stap_stat_size(&{unit.spec_name(var)});")
            make.append(f"\tif (stap_map_create(&{name}))\n\t\treturn -ENOMEM;")
            free.append(f"\tstap_map_destroy(&{name});")
        elif var.stats is not None:
            make.append(f"\tif (stap_scalar_stat_create(&{name}))\n\t\treturn -ENOMEM;")
            free.append(f"\tstap_scalar_stat_destroy(&{name});")
    return [
        f"static int {unit.prefix}storage_create(void)", "{", *make, "\treturn 0;", "}", "",
        f"static void {unit.prefix}storage_destroy(void)", "{", *free, "}",
    ]  # fmt: skip
