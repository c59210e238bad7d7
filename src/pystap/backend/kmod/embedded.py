"""Embedded C: the script's own texts in the C of the module, with the script's line numbers."""

from __future__ import annotations

from pystap.backend.kmod.unit import identifier
from pystap.backend.kmod.writer import quoted
from pystap.ir import ops
from pystap.ir.module import Function
from pystap.ir.types import LocalVar, Ty
from pystap.typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pystap.backend.kmod.unit import Unit
    from pystap.backend.kmod.writer import Writer

#: what the C compiler is told the file of the rest is called; the build puts the name there
FILE: Final = "module.c"
_BACK: Final = "#line back"
_RESULT: Final = "__retvalue"


def numbered(text: str) -> str:
    """The whole C text with the lines behind embedded ones numbered again."""
    if _BACK not in text:
        return text
    lines = text.split("\n")
    return "\n".join(
        f'#line {number} "{FILE}"' if line == _BACK else line
        for number, line in enumerate(lines, 2)
    )


def top_level(unit: Unit) -> list[str]:
    """The texts of the file level."""
    return [line for text in unit.module.c_texts for line in _verbatim(text)]


def _verbatim(text: ops.CText) -> list[str]:
    """A text where the compiler takes it for lines of the script."""
    first = " " * (text.column - 1) + text.text
    return [f"#line {text.line} {quoted(text.source)}", *first.split("\n"), _BACK]


# --- functions -----------------------------------------------------------------------------------


def declare_members(w: Writer, function: Function, body: ops.CBody) -> None:
    """The members of a function's structure: its parameters and what it returns."""
    for var in function.params:
        w.declare(var, w.unit.size_of(var), var.name if body.members else "")
    if function.result is Ty.LONG:
        w.members.append(f"s64 {_RESULT};")
    elif function.result is Ty.STR:
        w.members.append(f"char {_RESULT}[MAXSTRINGLEN];")


def function_body(w: Writer, function: Function, body: ops.CBody) -> None:
    """The text of a function between the macros that it knows its surroundings by."""
    macros = _function_macros(w, function, body) | _accessors(w, body.accessors)
    if function.result is not Ty.VOID:
        w.line(f"{'*' if function.result is Ty.STR else ''}l->{_RESULT} = 0;")
    with w.block(""):
        w.line("struct stap_context *stap_c = c;")
        if w.members:
            w.line("__typeof__(l) stap_l = l;")
        w.lines += [f"#define {name} {text}" for name, text in macros.items()]
        with w.block(""):
            w.lines += _verbatim(body.text)
        w.lines += [f"#undef {name.partition('(')[0]}" for name in macros]
    w.labels_used.add(w.end_label)


def function_end(function: Function) -> list[str]:
    """What becomes of the value that the text gave."""
    match function.result:
        case Ty.LONG:
            return [f"\tresult = l->{_RESULT};"]
        case Ty.STR:
            return [f"\tstap_copy_string(result, l->{_RESULT}, result_size);"]
    return []


def _function_macros(w: Writer, function: Function, body: ops.CBody) -> dict[str, str]:
    out = f"goto {w.end_label}"
    macros = {
        f"STAP_ARG_{identifier(var.name)}": f"(stap_{w.variable(var)})" for var in function.params
    }
    macros["return"] = out
    macros["STAP_LEAVE"] = out
    macros["STAP_PLACE"] = "STAP_OF_CALLER"
    macros["STAP_NEXT"] = f"do {{ stap_c->passed = 1; {out}; }} while (0)"
    if body.members and w.members:
        macros["THIS"] = "stap_l"
    if function.result is Ty.VOID:
        macros["STAP_RETURN(...)"] = out
        return macros
    macros["STAP_RETVALUE"] = f"(stap_l->{_RESULT})"
    give = "STAP_RETVALUE = (value)"
    if function.result is Ty.STR:
        give = "stap_copy_string(STAP_RETVALUE, (value), MAXSTRINGLEN)"
    macros["STAP_RETURN(value)"] = f"do {{ {give}; {out}; }} while (0)"
    return macros


# --- expressions ---------------------------------------------------------------------------------


def long_of(w: Writer, expr: ops.CExpr) -> str:
    """The C variable that holds a number."""
    to = w.temp("0")
    _evaluate(w, expr, f"{to} = (s64)(", ");")
    return to


def text_into(w: Writer, expr: ops.CExpr, to: str, size: str) -> None:
    """A string into memory."""
    _evaluate(w, expr, f"stap_copy_string({to}, (", f"), {size});")


def _evaluate(w: Writer, expr: ops.CExpr, before: str, behind: str) -> None:
    macros = _accessors(w, expr.accessors)
    here = any("stap_l" in text for text in macros.values())
    macros |= {"STAP_LEAVE": "(void)0", "STAP_PLACE": str(expr.pos)}
    with w.block(""):
        w.line("struct stap_context *stap_c = c;")
        if here:
            w.line("__typeof__(l) stap_l = l;")
        w.lines += [f"#define {name} {text}" for name, text in macros.items()]
        w.line(before)
        w.lines += _verbatim(expr.text)
        w.line(behind)
        w.lines += [f"#undef {name.partition('(')[0]}" for name in macros]
    if expr.accessors or expr.text.may_fail:
        w.check()


# --- globals -------------------------------------------------------------------------------------


def _accessors(w: Writer, accessors: dict[str, Function]) -> dict[str, str]:
    """The macros that get and set globals."""
    macros = {}
    for name, function in accessors.items():
        words = [f"stap_p{index}" for index, _ in enumerate(function.params)]
        given = ", ".join(_argument(var, word) for var, word in zip(function.params, words))
        call = w.unit.function_name(function)
        behind = f", {given}" if given else ""
        if function.result is Ty.STR:
            room = _room(w)
            text = f"({{ {call}(stap_c, {room}, MAXSTRINGLEN{behind}); {room}; }})"
        else:
            text = f"{call}(stap_c{behind})"
        macros[f"{name}({', '.join(words)})"] = text
    return macros


def _argument(var: LocalVar, word: str) -> str:
    return f"(s64)({word})" if var.ty is Ty.LONG else f"({word})"


def _room(w: Writer) -> str:
    """Memory for a string that a text gets."""
    name = f"got{len(w.members)}"
    w.members.append(f"char {name}[MAXSTRINGLEN];")
    return f"stap_l->{name}"
