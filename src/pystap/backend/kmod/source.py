"""Pass 3 of the kernel-module runtime: an IR module becomes C text."""

from __future__ import annotations

from pystap.backend.kmod import calls, patterns
from pystap.backend.kmod.attach import attachments
from pystap.backend.kmod.expressions import long_of
from pystap.backend.kmod.statements import statements
from pystap.backend.kmod.storage import declare_globals
from pystap.backend.kmod.unit import Unit
from pystap.backend.kmod.writer import Writer, quoted
from pystap.ir import ops
from pystap.ir.module import Function, Handler, Module
from pystap.ir.types import LocalVar, Ty
from pystap.ir.walk import walk_body
from pystap.probes.attach import SessionEvent, is_return, kind_of
from pystap.typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pystap.ir.probe import Probe

_MOST_ACTIONS: Final = 1 << 62


def print_c(module: Module, surroundings: str = "module.h") -> str:
    """C text of a module.

    ``surroundings`` is the header of the runtime that holds the session: ``module.h`` for the
    kernel, ``in_process.h`` for a process that runs begin and end probes.
    """
    unit = Unit(module)
    functions = [_function(unit, f) for f in module.functions]
    handlers = [_handler(unit, h) for h in module.handlers]
    conditions = [_condition(unit, i, e) for i, e in enumerate(module.conditions)]
    bodies = [line for part in (*functions, *handlers, *conditions) for line in (*part, "")]
    return "\n".join(
        [
            *_defines(unit), f'#include "{surroundings}"', '#include "memory.h"',
            '#include "tables.h"', "", *patterns.declare(unit), *declare_globals(unit), "",
            *unit.declarations, "", *[calls.head(unit, f) + ";" for f in module.functions], "",
            *bodies, *_positions(module), "", *_probes(unit), "",
            *(attachments(module) if surroundings == "module.h" else []), *_session(module), "",
        ]
    )  # fmt: skip


def _defines(unit: Unit) -> list[str]:
    limits = unit.module.limits
    values = {
        "MAXSTRINGLEN": limits.maxstringlen,
        "MAXACTION": limits.maxaction if limits.time_limits else f"{_MOST_ACTIONS}ll",
        "MAXNESTING": limits.maxnesting,
        "MAXERRORS": limits.maxerrors,
        "MAXSKIPPED": limits.maxskipped,
        "MAXTRYLOCK": limits.maxtrylock,
        "TRYLOCKDELAY": limits.trylockdelay,
        "SUPPRESS_HANDLER_ERRORS": int(limits.suppress_handler_errors),
        "HIST_WIDTH": limits.hist_width,
        "HIST_ELISION": f"({limits.hist_elision})",
        "MAX_GROUPS": max([r.groups for r in unit.module.regexes], default=1),
        "MAX_REGISTERS": patterns.most_registers(unit.module),
        "ORDER_SIZE": _order_size(unit.module),
    }
    return [
        "/* Made by pystap from a script. */",
        *[f"#define {name} {value}" for name, value in values.items()],
        "#define ARENA_SIZE arena_size()",
        "static unsigned int arena_size(void);",
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
            w.line(f"copy_string({to}, a{index}, sizeof({to}));")
    for var in variables[len(function.params) :]:
        _clear(w, var)
    statements(w, function.body)
    tail = ["\treturn result;"] if function.result is Ty.LONG else []
    return _framed(w, calls.head(unit, function), name, tail)


def _handler(unit: Unit, handler: Handler) -> list[str]:
    name = f"handler{handler.index}"
    w = _writer(unit, name, handler.locals)
    for var in handler.locals:
        _clear(w, var)
    statements(w, handler.body)
    comments = [f"/* {p.point} at */ /* {p.origin} */" for p in unit.module.probes
                if p.handler == handler.index]  # fmt: skip
    safe = [c.encode("ascii", "replace").decode() for c in comments[:8]]
    return [*safe, *_framed(w, f"static void {name}(struct context *c)", name, [])]


def _condition(unit: Unit, index: int, expr: ops.Expr) -> list[str]:
    name = f"condition{index}"
    w = Writer(unit, name)
    w.line("s64 result = 0;")
    w.line(f"result = {long_of(w, expr)};")
    head = f"static s64 {name}(struct context *c)"
    return _framed(w, head, name, ["\treturn result;"])


def _framed(w: Writer, head: str, name: str, tail: list[str]) -> list[str]:
    """A whole C function with the structure of its variables."""
    members = w.all_members()
    w.put_label(w.end_label)
    lines = []
    begin, end = [], []
    if members:
        lines = [f"struct frame_{name} {{", *[f"\t{m}" for m in members], "};", ""]
        begin = [f"\tstruct frame_{name} *l = frame_begin(c, sizeof(*l));"]
        end = ["\tframe_end(c, sizeof(*l));"]
        w.unit.frames.append(f"frame_{name}")
    body = w.lines
    declarations = [line for line in body[:1] if line.lstrip().startswith("s64 result")]
    return [
        *lines, head, "{", *declarations, *begin, "", *body[len(declarations) :], *end, *tail, "}",
    ]  # fmt: skip


# --- the session ---------------------------------------------------------------------------------


def _positions(module: Module) -> list[str]:
    rows = [f"\t{quoted(position.text())}," for position in module.positions]
    return ["static const char *const positions[] = {", *(rows or ['\t"",']), "};"]


def _probes(unit: Unit) -> list[str]:
    rows = [_probe(probe) for probe in unit.module.probes]
    frames = " + ".join(f"sizeof(struct {name}) + 8" for name in unit.frames) or "8"
    recursive = any(f.recursive for f in unit.module.functions)
    deepest = unit.module.limits.maxnesting if recursive else 1
    return [
        "static const struct probe probes[] = {", *rows, "};", "",
        "static unsigned int arena_size(void)", "{", f"\treturn ({frames}) * {deepest};", "}",
    ]  # fmt: skip


def _probe(probe: Probe) -> str:
    condition = f"condition{probe.condition}" if probe.condition >= 0 else "NULL"
    words = [
        quoted(probe.point), quoted(probe.name), quoted(probe.function()),
        quoted(kind_of(probe.attach)), "true" if is_return(probe.attach) else "false",
        f"handler{probe.handler}", condition,
    ]  # fmt: skip
    return f"\t{{ {', '.join(words)} }},"


def _session(module: Module) -> list[str]:
    """The order of the session's own probes, and the start of it in a process."""
    lines = []
    for kind in ("init", "begin", "end", "error"):
        found = sorted(
            (p.attach.order, i)
            for i, p in enumerate(module.probes)
            if isinstance(p.attach, SessionEvent) and p.attach.kind == kind
        )
        indexes = ", ".join(str(i) for _, i in found) or "0"
        lines.append(f"static const u16 {kind}_probes[] = {{ {indexes} }};")
        lines.append(f"enum {{ {kind}_count = {len(found)} }};")
    return [*lines, "", "PYSTAP_SESSION"]
