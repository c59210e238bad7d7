"""System call probes: the table, the points, the variables and the texts."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from datadriven import Case, assert_case, load_cases
from probes.points import expr_text, parse_var, resolve
from probes.sysargs import Memory, parse_call
from pystap.diag.diagnostic import DiagnosticError
from pystap.ir.tables import TABLES, FlagTable, NameTable
from pystap.kernel.event_systems import _content, _detached_mount
from pystap.lang import ast
from pystap.probes.attach import SyscallEvent
from pystap.probes.syscall_decode import argstr, retstr, syscall_name
from pystap.probes.syscall_table import (
    ENTRY,
    KINDS,
    NAME_BYTES,
    POINT_NAME,
    RESULTS,
    SLOT,
    SLOTS,
    TABLE,
    by_number,
    encoded,
    syscalls,
)

_HERE = Path(__file__).parent


@pytest.mark.parametrize("case", load_cases(_HERE / "argstr.test"), ids=str)
def test_argstr(case: Case) -> None:
    lines = []
    for line in case.input.splitlines():
        memory = Memory()
        number, args = parse_call(line, memory)
        lines.append(f"{syscall_name(number)}({argstr(number, args, memory)})")
    assert_case(case, "\n".join(lines))


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("openat", 3, "3"),
        ("openat", -2, "-2 (ENOENT)"),
        ("read", 1 << 63, "-9223372036854775808"),
        ("read", -512, "-512 (ERESTARTSYS)"),
        ("read", -4000, "-4000"),
        ("mmap", 0x7F0000001000, "0x7f0000001000"),
        ("mmap", -12, "-12 (ENOMEM)"),
        ("brk", 0x5000, "0x5000"),
        ("umask", 0o22, "022"),
        ("getuid", 1000, "1000"),
    ],
)
def test_retstr(name: str, value: int, text: str) -> None:
    [call] = [call for call in syscalls() if call.name == name]
    assert retstr(call.number, value) == text


def test_names() -> None:
    assert syscall_name(257) == "openat"
    assert syscall_name(17) == "pread64"
    assert syscall_name(17 | POINT_NAME) == "pread"
    assert syscall_name(511) == "511"


def test_one_argument_alone() -> None:
    memory = Memory()
    number, args = parse_call('openat -100 "/etc/passwd" 0x80000 0', memory)
    assert argstr(number | 1 << 16, args, memory) == "AT_FDCWD"
    assert argstr(number | 2 << 16, args, memory) == '"/etc/passwd"'
    assert argstr(number | 3 << 16, args, memory) == "O_RDONLY|O_CLOEXEC"
    assert argstr(number | 4 << 16, args, memory) == ""
    assert argstr(number | 6 << 16, args, memory) == ""


# --- the table ----------------------------------------------------------------------------------


def test_table_is_consistent() -> None:
    assert [call.number for call in syscalls()] == sorted({call.number for call in syscalls()})
    for call in syscalls():
        assert len(call.arguments) <= 6
        assert len(call.name) < NAME_BYTES
        assert call.result in RESULTS
        seen: set[str] = set()
        for index, argument in enumerate(call.arguments):
            assert argument.kind in KINDS, (call.name, argument)
            if argument.kind in ("flags", "oflags"):
                assert isinstance(TABLES[argument.param], FlagTable), argument
            elif argument.kind == "enum":
                assert isinstance(TABLES[argument.param], NameTable), argument
            elif argument.param:
                assert int(argument.param) < len(call.arguments), (call.name, index)
            names = [*argument.names, *argument.texts, *argument.raw]
            assert not seen.intersection(names), (call.name, names)
            seen.update(names)
            assert argument.ctype, (call.name, argument)


def test_numbers_are_those_of_the_header() -> None:
    header = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h").read_text()
    numbers = {int(n): name for name, n in re.findall(r"__NR_(\w+) (\d+)", header)}
    assert len(numbers) > 350
    for number, name in numbers.items():
        assert by_number()[number].name == name


def test_prototypes_are_those_of_the_running_kernel() -> None:
    root = _detached_mount()
    assert root is not None
    renamed = {"newstat": "stat", "newfstat": "fstat", "newlstat": "lstat", "newuname": "uname",
               "sendfile64": "sendfile", "umount": "umount2"}  # fmt: skip
    table = {call.name: [a.parameter for a in call.arguments] for call in syscalls()}
    listed = _content("available_events", root)
    assert listed is not None
    checked = 0
    for event in re.findall(r"syscalls:sys_enter_(\w+)", listed.decode()):
        text = _content(f"events/syscalls/sys_enter_{event}/format", root)
        assert text is not None
        fields = re.findall(r"field:.*?(\w+);", text.decode().partition("__syscall_nr;")[2])
        name = renamed.get(event, event)
        assert table[name] == fields, name
        checked += 1
    assert checked > 300


def test_encoded_form_says_the_same() -> None:
    form = encoded()
    assert len(form.slots) == SLOTS * SLOT.size
    order = table_order()
    for call in syscalls():
        count, result, kinds = SLOT.unpack_from(form.slots, call.number * SLOT.size)
        assert count == len(call.arguments)
        assert RESULTS[result] == call.result
        for index, argument in enumerate(call.arguments):
            kind, param = kinds[2 * index : 2 * index + 2]
            assert KINDS[kind & 0x7F] == argument.kind
            assert bool(kind & 0x80) == (argument.width != "long")
            if argument.kind in ("flags", "oflags", "enum"):
                assert order[param] == argument.param
            else:
                assert param == int(argument.param or 0)
        name = form.names[call.number * NAME_BYTES :][:NAME_BYTES].rstrip(b"\0").decode()
        assert name == call.name


def table_order() -> list[str]:
    """Tables in the order of the encoded form, recognised by their first entries."""
    form = encoded()
    texts: dict[tuple[str, ...], str] = {}
    for name, table in TABLES.items():
        rows = table.flags if isinstance(table, FlagTable) else table.names.values()
        labels = [row if isinstance(row, str) else row.name for row in rows]
        if isinstance(table, FlagTable) and table.zero:
            labels.append(table.zero)
        texts.setdefault((isinstance(table, FlagTable), *labels), name)
    found = []
    for at in range(0, len(form.tables), TABLE.size):
        first, count, flags = TABLE.unpack_from(form.tables, at)
        labels = []
        for entry in range(first, first + count):
            _, _, start, length = ENTRY.unpack_from(form.entries, entry * ENTRY.size)
            labels.append(form.texts[start : start + length].decode())
        found.append(texts[bool(flags), *labels])
    return found


# --- probe points -------------------------------------------------------------------------------


def test_open_is_exactly_open() -> None:
    [match] = resolve("syscall.open")
    assert match.points == [("syscall.open", SyscallEvent("enter", (2,)))]
    [match] = resolve("syscall.open.return")
    assert match.points == [("syscall.open.return", SyscallEvent("exit", (2,)))]


@pytest.mark.parametrize("root", ["dw_syscall", "nd_syscall", "tp_syscall"])
def test_other_roots(root: str) -> None:
    [match] = resolve(f"{root}.read.return")
    assert match.points == [(f"{root}.read.return", SyscallEvent("exit", (0,)))]


def test_one_name_for_several_calls() -> None:
    [match] = resolve("syscall.eventfd")
    assert [attach.numbers for _, attach in match.points] == [(284,), (290,)]
    flags = match.context.locals()["flags"]
    assert expr_text(flags) == "((sysnr0 == 290) ? ((sysarg1 << 32) >> 32) : 0)"


def test_synonym() -> None:
    [match] = resolve("syscall.mmap2")
    assert match.points == [("syscall.mmap2", SyscallEvent("enter", (9,)))]
    assert expr_text(match.context.locals()["name"]) == '"mmap2"'


def test_wildcards_share_one_handler_and_are_fast() -> None:
    taken = []
    for _ in range(3):
        start = time.process_time()
        [match] = resolve("syscall.*")
        match.context.locals()
        taken.append(time.process_time() - start)
    assert min(taken) < 0.05
    assert len(match.points) == len(syscalls())
    [match] = resolve("syscall.*at.return")
    names = [text for text, _ in match.points]
    assert "syscall.openat.return" in names
    assert "syscall.open.return" not in names
    assert resolve("syscall.zz*") == []
    assert len(resolve("syscall.**")) == 2


def test_wildcards_agree_with_single_probes() -> None:
    """What a wildcard makes of a variable is, for each call, what that call's own probe makes."""
    [wild] = resolve("syscall.*")
    chosen = {name: wild.context.locals()[name] for name in ("fd", "filename", "mode", "count")}
    for call in syscalls():
        matches = resolve(f"syscall.{call.point}")
        own = matches[0].context.locals()
        for name, expr in chosen.items():
            picked = expr_text(choose(expr, call.number))
            if name in {n for a in call.arguments for n in (*a.names, *a.texts)}:
                alone = expr_text(choose(own[name], call.number))
                assert picked == alone
            else:
                assert picked in ("0", '""'), (call.name, name)


def choose(expr: ast.Expr, nr: int) -> ast.Expr:
    """Take the branches that the number of a call selects."""
    while isinstance(expr, ast.Ternary) and "sysnr0" in expr_text(expr.cond):
        expr = expr.yes if evaluate(expr.cond, nr) else expr.no
    return expr


def evaluate(expr: ast.Expr, nr: int) -> int:
    text = expr_text(expr)
    if isinstance(expr, ast.Number):
        return expr.value
    if text == "sysnr0":
        return nr
    if isinstance(expr, ast.Ternary):
        return evaluate(expr.yes if evaluate(expr.cond, nr) else expr.no, nr)
    assert isinstance(expr, (ast.Binary, ast.Compare)), text
    left, right = evaluate(expr.left, nr), evaluate(expr.right, nr)
    operations = {
        "==": lambda: int(left == right),
        ">>": lambda: left >> (right & 63),
        ">>>": lambda: (left & (1 << 64) - 1) >> (right & 63),
        "&": lambda: left & right,
    }
    return operations[expr.op]()


def test_variables_of_openat() -> None:
    [match] = resolve("syscall.openat")
    values = match.context.locals()
    assert {"name", "argstr", "dfd", "dfd_str", "filename", "filename_uaddr", "flags",
            "flags_str", "mode", "filename_unquoted"} <= set(values)  # fmt: skip
    assert "retstr" not in values
    assert match.context.variables() == [
        ("$dfd", "int"),
        ("$filename", "char const*"),
        ("$flags", "int"),
        ("$mode", "umode_t"),
    ]
    assert all(value.type in ("long", "string") for value in values.values())
    texts = {name: expr_text(value) for name, value in values.items()}
    assert texts["dfd"] == "((sysarg0 << 32) >> 32)"
    assert texts["mode"] == "(sysarg3 & 4294967295)"
    assert texts["filename_uaddr"] == "sysarg1"


def test_variables_at_return() -> None:
    [match] = resolve("syscall.read.return")
    assert ("$return", "long int") in match.context.variables()
    texts = {name: expr_text(value) for name, value in match.context.locals().items()}
    assert texts["retval"] == "sysret0"
    assert texts["retstr"] == "syscall_retstr(sysnr0, sysret0)"
    assert texts["name"] == '"read"'
    assert expr_text(match.context.resolve(parse_var("$return"))) == "sysret0"
    assert (
        expr_text(match.context.resolve(parse_var("$$return"))) == 'sprintf("return=%#x", sysret0)'
    )


def test_single_probes_share_what_depends_on_the_number_only() -> None:
    read = resolve("syscall.read")[0].context
    write = resolve("syscall.write")[0].context
    assert read.key_for(["argstr"]) == write.key_for(["argstr"])
    assert expr_text(read.locals()["argstr"]) == expr_text(write.locals()["argstr"])
    assert read.key_for(["fd"]) == write.key_for(["fd"])
    assert expr_text(read.locals()["fd"]) == expr_text(write.locals()["fd"])
    assert read.key_for(["buf_str"]) != write.key_for(["buf_str"])
    execve = resolve("syscall.execve.return")[0].context
    assert execve.key_for(["argstr"]) != resolve("syscall.exit.return")[0].context.key_for(
        ["argstr"]
    )
    assert read.key_for(["name"]) != write.key_for(["name"])
    returns = resolve("syscall.read.return")[0].context
    assert read.key_for(["argstr"]) != returns.key_for(["argstr"])
    other = resolve("syscall.write.return")[0].context
    for name in ("retstr", "retval"):
        assert returns.key_for([name]) == other.key_for([name])
        assert expr_text(returns.locals()[name]) == expr_text(other.locals()[name])


def test_what_execve_forgets() -> None:
    [match] = resolve("syscall.execve.return")
    assert set(match.context.locals()) == {"name", "retval", "retstr", "argstr"}
    assert expr_text(match.context.locals()["argstr"]) == '""'
    [match] = resolve("syscall.e*.return")
    text = expr_text(choose(match.context.locals()["argstr"], 59))
    assert text == '""'
    assert "syscall_argstr" in expr_text(choose(match.context.locals()["argstr"], 60))


def test_kernel_parameters() -> None:
    context = resolve("syscall.read")[0].context
    assert expr_text(context.resolve(parse_var("$fd"))) == "(sysarg0 & 4294967295)"
    assert expr_text(context.resolve(parse_var("$count"))) == "sysarg2"
    assert expr_text(context.resolve(parse_var("$$parms"))) == (
        'sprintf("fd=%#x buf=%#x count=%#x", (sysarg0 & 4294967295), sysarg1, sysarg2)'
    )
    for text in ("$nix", "$return", "$fd->x", "&$fd"):
        with pytest.raises(DiagnosticError):
            context.resolve(parse_var(text))


def test_syscall_any() -> None:
    [match] = resolve("syscall_any")
    assert match.points == [("syscall_any", SyscallEvent("enter"))]
    texts = {name: expr_text(value) for name, value in match.context.locals().items()}
    assert texts["syscall_nr"] == "sysnr0"
    assert texts["name"] == "syscall_name((sysnr0 | 65536))"
    [match] = resolve("syscall_any.return")
    assert match.points == [("syscall_any.return", SyscallEvent("exit"))]
    assert expr_text(match.context.locals()["retval"]) == "sysret0"


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("syscall.opne", "no system call 'opne'", "syscall.open"),
        ("syscall.pread64", "no system call 'pread64'", "it is called syscall.pread"),
        ("syscall.open.retrun", "mismatch (similar: return)", ".return"),
        ("syscall.open.return.x", "mismatch", ""),
        ("syscall", "incomplete", "NAME"),
        ("syscall.open(3)", "takes no argument", ""),
        ("syscall_any.foo", "mismatch", ".return"),
    ],
)
def test_mistakes(text: str, message: str, hint: str) -> None:
    with pytest.raises(DiagnosticError) as error:
        resolve(text)
    assert message in error.value.diagnostic.message
    assert hint in (error.value.diagnostic.hint or "")


def test_table_of_names() -> None:
    """The table that scripts look numbers up in is the one that probes go by."""
    from pystap.ir.tables import TABLES
    from pystap.probes.syscall_decode import by_number

    table = TABLES["syscall"]
    for number, call in by_number().items():
        assert table.name(number) == call.name
        assert table.number(call.name) == number
