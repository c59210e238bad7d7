"""Pass 3 of the kernel-module runtime: an IR module becomes C text."""

from __future__ import annotations

import re

from pystap.backend.kmod import calls, embedded, patterns, report, syscalls, user_objects
from pystap.backend.kmod.attach import attachments
from pystap.backend.kmod.attach_kernel import counter_probes
from pystap.backend.kmod.expressions import long_of
from pystap.backend.kmod.parameters import parameters
from pystap.backend.kmod.statements import held, statements
from pystap.backend.kmod.storage import declare_globals
from pystap.backend.kmod.unit import Unit
from pystap.backend.kmod.writer import Writer, quoted
from pystap.debuginfo.objecttable import NARROW_VDSO_INODE, VDSO_INODE
from pystap.ir import ops
from pystap.ir.module import Function, Handler, Module
from pystap.ir.types import LocalVar, Ty
from pystap.ir.walk import walk, walk_body
from pystap.probes.attach import SessionEvent, Uprobe, is_return, kind_of
from pystap.typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pystap.ir.probe import Probe

_MOST_ACTIONS: Final = 1 << 62
_MOST_TRIES: Final = 1 << 30
_OWN: Final = re.compile(r"\b[cl]\b")


def print_c(module: Module, surroundings: str = "module.h") -> str:
    """C text of a module.

    ``surroundings`` is the header of the runtime that holds the session: ``module.h`` for the
    kernel, ``in_process.h`` for a process that runs begin and end probes.
    """
    return print_scripts([module], surroundings)


def print_scripts(modules: Sequence[Module], surroundings: str = "module.h") -> str:
    """C text of a module with several scripts, of which the parameter ``stap_number`` chooses.

    They have the same limits (``-D``), and only session probes if they are more than one.
    """
    names = [f"stap{i}_" if len(modules) > 1 else "stap_" for i in range(len(modules))]
    units = [Unit(module, prefix) for module, prefix in zip(modules, names)]
    bodies = [line for unit in units for line in _script(unit, surroundings == "module.h")]
    scripts = ", ".join(f"&{unit.prefix}the_script" for unit in units)
    headers = [surroundings, "memory.h", "tables.h", "procfs_text.h"]
    headers += ["kernel_registers.h"] if surroundings == "module.h" else []
    if surroundings == "module.h" and any(user_objects.wants_objects(m) for m in modules):
        headers.append(user_objects.HEADER)
    if surroundings == "module.h" and any(counter_probes(module) for module in modules):
        headers.append("kernel_counters.h")
    headers += ["embedded.h"] if any(unit.module.has_c for unit in units) else []
    lines = [
        *_defines(units), *[f'#include "{header}"' for header in headers], *bodies, "",
        f"static const struct stap_script *const stap_scripts[] = {{ {scripts} }};", "",
        "STAP_MODULE", "",
    ]  # fmt: skip
    return embedded.numbered("\n".join(lines))


def _script(unit: Unit, attached: bool) -> list[str]:
    """All that belongs to one script."""
    module = unit.module
    functions = [_function(unit, f) for f in module.functions]
    handlers = [_handler(unit, h) for h in module.handlers]
    conditions = [_condition(unit, i, e) for i, e in enumerate(module.conditions)]
    bodies = [line for part in (*functions, *handlers, *conditions) for line in (*part, "")]
    forms = syscalls.declare(unit)
    return [
        "", *embedded.top_level(unit), *patterns.declare(unit), *declare_globals(unit), "",
        *(parameters(unit) if attached and unit.prefix == "stap_" else []),
        *unit.declarations, *forms, *_symbols(unit), "",
        *[calls.head(unit, f) + ";" for f in module.functions], "", *bodies, *_positions(unit), "",
        *_probes(unit), "", *(attachments(module, unit.prefix) if attached else []),
        *_session(unit, attached),
    ]  # fmt: skip


def _defines(units: Sequence[Unit]) -> list[str]:
    limits = units[0].module.limits
    regexes = [regex for unit in units for regex in unit.module.regexes]
    values = {
        "MAXSTRINGLEN": limits.maxstringlen,
        "MAXACTION": limits.maxaction if limits.time_limits else f"{_MOST_ACTIONS}ll",
        "MAXNESTING": limits.maxnesting,
        "MAXBACKTRACE": limits.maxbacktrace,
        "MAXERRORS": limits.maxerrors,
        "MAXSKIPPED": limits.maxskipped,
        "MAXTRYLOCK": limits.maxtrylock if limits.time_limits else _MOST_TRIES,
        "STP_MAXMEMORY": limits.maxmemory,
        "TRYLOCKDELAY": limits.trylockdelay,
        "SUPPRESS_HANDLER_ERRORS": int(limits.suppress_handler_errors),
        "INTERRUPTIBLE": int(limits.interruptible),
        "STP_OVERLOAD_INTERVAL": f"{limits.overload_interval}ull",
        "STP_OVERLOAD_THRESHOLD": f"{limits.overload_threshold}ull",
        "STAP_TIMING": report.TIMINGS.index(limits.timing),
        "STAP_FORCE_TTY": int(limits.force_tty),
        "STAP_BULK": int(limits.bulk),
        "STAP_MEGABYTES": limits.buffer_megabytes,
        "HIST_WIDTH": limits.hist_width,
        "HIST_ELISION": f"({limits.hist_elision})",
        "MAX_GROUPS": max([r.groups for r in regexes], default=1),
        "STAP_VDSO_INODE": VDSO_INODE,
        "STAP_NARROW_VDSO_INODE": NARROW_VDSO_INODE,
        "STAP_COUNTERS": max(len(counter_probes(unit.module)) for unit in units),
        "MAX_REGISTERS": max(patterns.most_registers(unit.module) for unit in units),
    }
    return [
        "/* Made by pystap from a script. */",
        *[f"#define {name} {value}" for name, value in values.items()],
    ]


def _order_size(module: Module) -> int:
    """Elements that all loops over arrays together can go over at once."""
    total = 0
    owners: list[Function | Handler] = [*module.functions, *module.handlers]
    for owner in owners:
        recursive = isinstance(owner, Function) and owner.recursive
        for node in walk_body(owner.body):
            if isinstance(node, ops.Foreach):
                total += node.var.capacity * (module.limits.maxnesting if recursive else 1)
    return total


# --- functions and handlers ----------------------------------------------------------------------


def _writer(unit: Unit, name: str, variables: list[LocalVar]) -> Writer:
    w = Writer(unit, name)
    for var in variables:
        w.declare(var, unit.size_of(var))
    return w


def _clear(w: Writer, var: LocalVar) -> None:
    star = "" if var.ty is Ty.LONG else "*"
    w.line(f"{star}{w.variable(var)} = 0;")


def _function(unit: Unit, function: Function) -> list[str]:
    variables = [*function.params, *[v for v in function.locals if v not in function.params]]
    name = unit.function_name(function)
    c_body = function.body[0] if function.body else None
    if isinstance(c_body, ops.CBody):
        w = Writer(unit, name)
        embedded.declare_members(w, function, c_body)
    else:
        w = _writer(unit, name, variables)
    w.is_function = True
    if function.result is Ty.LONG:
        w.line("s64 result = 0;")
    elif function.result is Ty.STR:
        w.line("*result = 0;")
    for index, var in enumerate(function.params):
        to = w.variable(var)
        if var.ty is Ty.LONG:
            w.line(f"{to} = a{index};")
        else:
            w.line(f"stap_copy_string({to}, a{index}, sizeof({to}));")
    for var in variables[len(function.params) :]:
        _clear(w, var)
    tail = ["\treturn result;"] if function.result is Ty.LONG else []
    if isinstance(c_body, ops.CBody):
        embedded.function_body(w, function, c_body)
        return _framed(w, calls.head(unit, function), name, tail, embedded.function_end(function))
    statements(w, function.body)
    return _framed(w, calls.head(unit, function), name, tail)


def _handler(unit: Unit, handler: Handler) -> list[str]:
    name = f"{unit.prefix}handler{handler.index}"
    w = _writer(unit, name, handler.locals)
    for var in handler.locals:
        _clear(w, var)
    statements(w, handler.body)
    comments = [f"/* {p.point} at */ /* {p.origin} */" for p in unit.module.probes
                if p.handler == handler.index]  # fmt: skip
    safe = [c.encode("ascii", "replace").decode() for c in comments[:8]]
    return [*safe, *_framed(w, f"static void {name}(struct stap_context *c)", name, [])]


def _condition(unit: Unit, index: int, expr: ops.Expr) -> list[str]:
    """The function of a condition; one that needs no context has the probe's time only."""
    name = f"{unit.prefix}condition{index}"
    w = Writer(unit, name)
    w.line("s64 result = 0;")
    locks = unit.module.condition_locks[index] if unit.module.condition_locks else []
    reads = [node.var for node in walk(expr) if isinstance(node, ops.GlobalGet)]
    if locks and not (reads == [locks[0][0]] and len(locks) == 1 and reads[0].value is Ty.LONG):
        with held(w, locks):
            w.line(f"result = {long_of(w, expr)};")
    else:  # one number is read at once
        w.line(f"result = {long_of(w, expr)};")
    if not any(_OWN.search(line) for line in w.lines):
        unit.quick_conditions.add(index)
    head = f"static s64 {name}(struct stap_context *c)"
    return _framed(w, head, name, ["\treturn result;"])


def _framed(
    w: Writer, head: str, name: str, tail: list[str], last: Sequence[str] = ()
) -> list[str]:
    """A whole C function with the structure of its variables; ``last`` still has them."""
    members = w.all_members()
    w.put_label(w.end_label)
    lines = []
    begin, end = [], []
    if members:
        lines = [f"struct {name}_frame {{", *[f"\t{m}" for m in members], "};", ""]
        begin = [f"\tstruct {name}_frame *l = stap_frame_begin(c, sizeof(*l));"]
        end = ["\tstap_frame_end(c, sizeof(*l));"]
        w.unit.frames.append(f"{name}_frame")
    body = w.lines
    declarations = [line for line in body[:1] if line.lstrip().startswith("s64 result")]
    return [
        *lines, head, "{", *declarations, *begin, "", *body[len(declarations) :], *last,
        *end, *tail, "}",
    ]  # fmt: skip


# --- the session ---------------------------------------------------------------------------------


def _symbols(unit: Unit) -> list[str]:
    """Symbols of the kernel whose addresses handlers ask for."""
    if not unit.symbols:
        return []
    rows = [f"\t{{ {quoted(str(name))}, {number} }}," for name, number in unit.symbols]
    return [f"static struct stap_symbol {unit.prefix}symbols[] = {{", *rows, "};"]


def _positions(unit: Unit) -> list[str]:
    rows = [f"\t{quoted(position.text())}," for position in unit.module.positions]
    head = f"static const char *const {unit.prefix}positions[] = {{"
    return [head, *(rows or ['\t"",']), "};"]


def _probes(unit: Unit) -> list[str]:
    rows = [_probe(unit, probe) for probe in unit.module.probes]
    return [f"static const struct stap_probe {unit.prefix}probes[] = {{", *rows, "};"]


def _sleepers(module: Module) -> int:
    """Contexts for each CPU that wait for memory, beside the one that never does."""
    return 2 if any(isinstance(p.attach, Uprobe) for p in module.probes) else 0


def _arena_size(unit: Unit) -> str:
    """Memory for the variables of all that can run at once."""
    frames = " + ".join(f"sizeof(struct {name}) + 8" for name in unit.frames) or "8"
    recursive = any(f.recursive for f in unit.module.functions)
    return f"({frames}) * {unit.module.limits.maxnesting if recursive else 1}"


def _probe(unit: Unit, probe: Probe) -> str:
    condition = f"{unit.prefix}condition{probe.condition}" if probe.condition >= 0 else "NULL"
    words = [
        quoted(probe.point), quoted(probe.name), quoted(probe.function()),
        quoted(kind_of(probe.attach)), "true" if is_return(probe.attach) else "false",
        f"{unit.prefix}handler{probe.handler}", condition,
        "true" if probe.condition in unit.quick_conditions else "false",
    ]  # fmt: skip
    return f"\t{{ {', '.join(words)} }},"


def _session(unit: Unit, attached: bool) -> list[str]:
    """The script as the runtime sees it, with the order of the session's own probes."""
    module, name = unit.module, unit.prefix
    lines, lists = [], []
    for kind in ("init", "begin", "end", "error"):
        found = sorted(
            (p.attach.order, i)
            for i, p in enumerate(module.probes)
            if isinstance(p.attach, SessionEvent) and p.attach.kind == kind
        )
        indexes = ", ".join(str(i) for _, i in found) or "0"
        lines.append(f"static const u16 {name}{kind}_probes[] = {{ {indexes} }};")
        lists.append(f"{{ {name}{kind}_probes, {len(found)} }}")
    starts = [
        f"\t.start = {name}attach,", f"\t.stop = {name}detach,",
        f"\t.places = {name}places,", f"\t.sleepers = {_sleepers(module)},",
    ]  # fmt: skip
    if unit.symbols:
        starts += [f"\t.symbols = {name}symbols,", f"\t.symbol_count = {len(unit.symbols)},"]
    if attached:
        lines += user_objects.declare(unit)
        starts += user_objects.members(unit)
    return [
        *lines, *report.declare(unit), f"static const struct stap_script {name}the_script = {{",
        f"\t.probes = {name}probes,", f"\t.probe_count = {len(module.probes)},",
        *report.members(unit), f"\t.positions = {name}positions,",
        f"\t.session_probes = {{ {', '.join(lists)} }},",
        f"\t.arena_size = {_arena_size(unit)},", f"\t.order_size = {_order_size(module)},",
        f"\t.create = {name}storage_create,", f"\t.destroy = {name}storage_destroy,",
        *(starts if attached else []), "};",
    ]  # fmt: skip
