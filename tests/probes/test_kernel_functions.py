"""Functions of the kernel: which there are, what they are called, and what handlers see."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from datadriven import Case, assert_case, load_cases
from probes.points import expr_text, parse_point, parse_var
from pystap.debuginfo.btf import Btf
from pystap.debuginfo.functions import FunctionTable, KernelFunction
from pystap.diag.diagnostic import DiagnosticError, Diagnostics
from pystap.kernel.btfwriter import INT_BOOL, INT_SIGNED, BtfWriter
from pystap.lang import ast
from pystap.probes import attach
from pystap.probes.base import Match, ProbeEnv
from pystap.probes.kernel import FAMILY
from stap import stap

_HERE = Path(__file__).parent
_KALLSYMS = """\
0000000000000000 A per_cpu_start
ffffffff81000000 T _stext
ffffffff81000010 T do_work
ffffffff81000050 T __pfx_do_work
ffffffff81000060 t do_work.cold
ffffffff81000070 t helper
ffffffff81000080 t helper
ffffffff81000090 t shrunk.isra.0
ffffffff810000a0 t shrunk.constprop.0
ffffffff810000b0 W weak_one
ffffffff810000c0 D data_only
ffffffff81000100 T __noinstr_text_start
ffffffff81000110 t quiet_entry
ffffffff81000200 T __noinstr_text_end
ffffffff81000300 T do_more
ffffffff81000310 T by_value
ffffffff81000320 T many
ffffffff81000330 T forbidden
ffffffff81000340 T nothing
ffffffff82000000 r __ksymtab_do_work
ffffffff82000010 r __ksymtab_data_only
ffffffffc0000000 t extra_open\t[extra]
ffffffffc0000010 t extra_close\t[extra]
ffffffffc0000020 t helper\t[extra]
ffffffffc0001000 t other_open\t[other]
ffffffffc0002000 t bpf_prog_1234_probe\t[bpf]
"""

# In C:
#   struct pair { int a; int b; };  struct big { long x[3]; };  enum color { RED, GREEN = 5 };
#   struct thing { int size; struct thing *next; };
#   short do_work(struct thing *thing, int n, bool yes, enum color color);
#   void do_more(struct pair pair, long after);   long by_value(struct big big, long after);
#   int many(int a, int b, int c, int d, int e, int f, int g, long h);   void nothing(void);


def _write_btf(directory: Path) -> Btf:
    writer = BtfWriter()
    integer = writer.integer("int", 4, INT_SIGNED)
    short = writer.integer("short int", 2, INT_SIGNED)
    long = writer.integer("long int", 8, INT_SIGNED)
    boolean = writer.integer("bool", 1, INT_BOOL)
    color = writer.enum("color", 4, [("RED", 0), ("GREEN", 5)])
    pair = writer.struct("pair", 8, [("a", integer, 0), ("b", integer, 4)])
    big = writer.struct("big", 24, [("x", long, 0), ("y", long, 8), ("z", long, 16)])
    pointer = writer.pointer(big + 2)
    thing = writer.struct("thing", 16, [("size", integer, 0), ("next", pointer, 8)])
    assert thing == big + 2
    functions = {
        "do_work": (
            short,
            [("thing", pointer), ("n", integer), ("yes", boolean), ("color", color)],
        ),
        "do_more": (0, [("pair", pair), ("after", long)]),
        "by_value": (long, [("big", big), ("after", long)]),
        "many": (integer, [*((c, integer) for c in "abcdefg"), ("h", long)]),
        "nothing": (0, []),
        "helper": (integer, [("n", integer)]),
    }
    for name, (result, params) in functions.items():
        writer.function(name, writer.prototype(result, params), 1)
    (directory / "vmlinux").write_bytes(writer.blob())
    return Btf.open(path=str(directory / "vmlinux"))


@pytest.fixture(autouse=True)
def _no_debug_information(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever this machine has of its own kernel."""
    monkeypatch.setenv("SYSTEMTAP_DEBUGINFO_PATH", "/nonexistent")
    monkeypatch.delenv("DEBUGINFOD_URLS", raising=False)


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> ProbeEnv:
    """A made-up kernel."""
    directory = tmp_path_factory.mktemp("kernel")
    btf = _write_btf(directory)
    files = tmp_path_factory.mktemp("files")
    (files / "kallsyms").write_text(_KALLSYMS)
    (files / "blacklist").write_text("0x1-0x2\tforbidden\n")
    table = FunctionTable(str(files / "kallsyms"), lambda: None, str(files / "blacklist"))
    return ProbeEnv(btf=lambda: btf, diags=Diagnostics(), functions=table)


def resolve(text: str, env: ProbeEnv) -> list[Match]:
    return FAMILY.resolve(parse_point(text), env)  # a pattern of families is this one's, too


@pytest.mark.parametrize("case", load_cases(_HERE / "kernel_functions.test"), ids=str)
def test_resolve(case: Case, env: ProbeEnv) -> None:
    """Each place with how it attaches, or why there is none."""
    lines = []
    for text in case.input.splitlines():
        try:
            for match in resolve(text, env):
                lines += [f"{point}  {_shown(where)}" for point, where in match.points]
        except DiagnosticError as error:
            found = error.diagnostic
            missing = "missing" in found.message
            lines.append(f"error: {found.message.partition(' under ')[0]}")
            lines += [f"  hint: {found.hint}"] if found.hint and not missing else []
            lines += [f"  {note}" for note in found.notes if not _OF_MACHINE.match(note)]
    assert_case(case, "\n".join(lines))


_OF_MACHINE = re.compile("looked for|its build id")


def _shown(where: attach.Attach) -> str:
    """What is not as usual."""
    assert isinstance(where, attach.KernelFunction)
    usual = attach.KernelFunction(where.symbol)
    pairs = zip(where._fields, where, usual)
    return " ".join(f"{name}={value}" for name, value, common in pairs if value != common)


VARIABLES = {
    "do_work": "$thing:struct thing* $n:int $yes:bool $color:enum color",
    "do_work.return": "$return:short int $thing:struct thing* $n:int $yes:bool $color:enum color",
    "do_more": "$pair:struct pair $after:long int",
    "do_more.return": "$pair:struct pair $after:long int",
    "by_value": "$after:long int",
    "many": " ".join(f"${c}:int" for c in "abcdefg") + " $h:long int",
    "nothing": "",
    "nothing.return": "",
    "helper": "",
}


@pytest.mark.parametrize("point", VARIABLES)
def test_variables(point: str, env: ProbeEnv) -> None:
    name, _, suffix = point.partition(".")
    text = f'kernel.function("{name}")' + (f".{suffix}" if suffix else "")
    first = resolve(text, env)[0]
    if first.parts is not None:  # two of a name
        first = first.parts()[0]
    assert " ".join(f"{n}:{t}" for n, t in first.context.variables()) == VARIABLES[point]


VALUES = {
    "$thing": "+funcarg0",
    "$thing->size": "s32[+funcarg0]",
    "$thing->next->size": "s32[u64[(+funcarg0 + 8)]]",
    "&$thing->next": "(+funcarg0 + 8)",
    "$n": "((funcarg1 << 32) >> 32)",
    "$yes": "(funcarg2 & 255)",
    "$color": "(funcarg3 & 4294967295)",
    "$GREEN": "5",
    "$$locals": '""',
    "$$locals$": '""',
    "$$locals$$": '""',
}


@pytest.mark.parametrize("name", VALUES)
def test_values_at_the_entry(name: str, env: ProbeEnv) -> None:
    [match] = resolve('kernel.function("do_work")', env)
    made = expr_text(match.context.resolve(parse_var(name)))
    assert made.replace("+funcarg0", "funcarg0") == VALUES[name].replace("+funcarg0", "funcarg0")


def test_values_beyond_the_registers(env: ProbeEnv) -> None:
    [match] = resolve('kernel.function("many")', env)
    assert expr_text(match.context.resolve(parse_var("$g"))) == "((funcarg6 << 32) >> 32)"
    assert expr_text(match.context.resolve(parse_var("$h"))) == "funcarg7"
    [match] = resolve('kernel.function("do_more")', env)  # a structure takes one register
    assert expr_text(match.context.resolve(parse_var("$after"))) == "funcarg1"
    made = match.context.resolve(parse_var("$pair->b"))
    assert expr_text(made) == "(((funcarg0 >> 32) << 32) >> 32)"
    [match] = resolve('kernel.function("by_value")', env)  # and a large one the stack
    assert expr_text(match.context.resolve(parse_var("$after"))) == "funcarg0"


def test_texts(env: ProbeEnv) -> None:
    [match] = resolve('kernel.function("do_more")', env)
    assert expr_text(match.context.resolve(parse_var("$$vars"))).startswith(
        'sprintf("pair=? after=%#x"'
    )
    [match] = resolve('kernel.function("do_work").return', env)
    assert expr_text(match.context.resolve(parse_var("$$return"))).startswith(
        'sprintf("return=%#x"'
    )
    [match] = resolve('kernel.function("nothing").return', env)
    assert expr_text(match.context.resolve(parse_var("$$return"))) == '""'


def test_parameters_at_the_return_are_those_of_the_entry(env: ProbeEnv) -> None:
    [match] = resolve('kernel.function("do_work").return', env)
    made = match.context.resolve(parse_var("$thing->size"))
    assert isinstance(made, ast.AtOp)
    assert made.name == "entry"
    assert isinstance(made.args[0], ast.TargetVar)
    assert expr_text(match.context.resolve(parse_var("$return"))) == "((retval0 << 48) >> 48)"
    entry = match.context.entry()  # type: ignore[attr-defined]
    assert expr_text(entry.resolve(parse_var("$n"))) == "((funcarg1 << 32) >> 32)"


REFUSED = {
    ('"do_work"', "$m"): r"unable to find local 'm' \(alternatives: .*\$n",
    ('"do_work"', "$return"): r"unable to find local 'return'",
    ('"do_work"', "$$return"): r"only valid in \.return probes",
    ('"do_work"', "$thing->siz"): r"unable to find member 'siz' for struct thing .*size",
    ('"do_work"', "$n->x"): "has no members",
    ('"do_more"', "$pair"): r"'\$pair' \(struct pair\) is passed by value.*: a, b",
    ('"do_more"', "$pair->c"): "is passed by value",
    ('"by_value"', "$big->x"): r"'\$big' \(struct big\) is passed by value",
    ('"do_more").return', "$return"): "unable to find local 'return'",
    ('"shrunk.isra.0"', "$n"): r"BTF does not describe 'shrunk\.isra\.0'",
}


@pytest.mark.parametrize(("function", "name"), REFUSED)
def test_refused(function: str, name: str, env: ProbeEnv) -> None:
    text = f"kernel.function({function}" + ("" if ")" in function else ")")
    [match] = resolve(text, env)
    with pytest.raises(DiagnosticError, match=REFUSED[function, name]):
        match.context.resolve(parse_var(name))


def test_several_of_a_name_have_no_variables(env: ProbeEnv) -> None:
    [match] = resolve('kernel.function("helper")', env)
    assert match.parts is not None
    for part in match.parts():
        with pytest.raises(DiagnosticError, match="3 functions of that name"):
            part.context.resolve(parse_var("$n"))


def test_handlers_are_shared_where_what_they_use_is_alike(env: ProbeEnv) -> None:
    [work] = resolve('kernel.function("do_work")', env)
    [many] = resolve('kernel.function("many")', env)
    [back] = resolve('kernel.function("many").return', env)
    assert work.context.key_for([]) == many.context.key_for([])
    assert many.context.key_for([]) != back.context.key_for([])
    assert work.context.key_for(["$n"]) != many.context.key_for(["$n"])
    assert many.context.share_key != work.context.share_key


def test_optional_points_are_left_out_where_nothing_can_be_probed(env: ProbeEnv) -> None:
    if Path("/sys/bus/event_source/devices/kprobe").exists():
        pytest.skip("this kernel has kprobes")
    env.has_feature = lambda _name: False
    env.optional = 1
    try:
        with pytest.raises(DiagnosticError, match="cannot probe its functions"):
            resolve('kernel.function("do_work")', env)
    finally:
        env.has_feature, env.optional = None, 0
    alias = 'probe mine = kernel.function("vfs_read") {} probe mine !, never { println(1) }'
    done = stap("-p2", "-e", alias)
    assert (done.status, done.err) == (0, "")
    assert "vfs_read" not in done.out


def test_table(tmp_path: Path) -> None:
    path = tmp_path / "kallsyms"
    path.write_text(_KALLSYMS)
    table = FunctionTable(str(path), lambda: b"do_work\nhelper\nextra_open [extra]\n", "none")
    assert [f.name for f in table.matching("*")] == ["do_work", "helper", "helper"]
    assert table.matching("extra*", "e*") == [KernelFunction("extra_open", "extra")]
    assert table.refusal("do_more") == (
        "the kernel was built without a place for probes in it (notrace)"
    )
    assert table.address(KernelFunction("helper", "", 1)) == 0xFFFFFFFF81000080
    assert table.address(KernelFunction("gone", "")) == 0
    found = table.at(0xFFFFFFFF81000082)
    assert found == (KernelFunction("helper", "", 1, 3), 2)
    assert table.modules() == ["extra", "other"]


# --- the running kernel -------------------------------------------------------------------------


def test_all_functions_are_listed() -> None:
    """All code symbols but the compiler's and those of sections that are kept free of probes."""
    if FunctionTable()._filter() is not None:
        pytest.skip("ftrace tells here what can be probed; the lab's tests compare with that")
    done = stap("-l", 'kernel.function("*")')
    assert (done.status, done.err) == (0, "")
    listed = {line.split('"')[1] for line in done.out.splitlines()}
    start, ends = {}, {}
    wanted = set()
    lines = [line.split() for line in Path("/proc/kallsyms").read_text().splitlines()]
    for address, _, name, *_ in lines:
        start[name] = int(address, 16)
    for kind in ("noinstr", "kprobes", "entry"):
        ends[start.get(f"__{kind}_text_start", 0)] = start.get(f"__{kind}_text_end", 0)
    ends[start["_sinittext"]] = start["_einittext"]
    for address, kind, name, *module in lines:
        at = int(address, 16)
        if kind in "tTwW" and not module and not any(a <= at < b for a, b in ends.items()):
            wanted.add(name)
    assert listed <= wanted
    prefixes = ("__pfx_", "__cfi_", "__SCT__", "__x86_", "__kstrtab")
    missing = {n for n in wanted - listed if not n.startswith(prefixes) and ".cold" not in n}
    assert all("text" in name for name in missing), sorted(missing)[:20]
    assert len(listed) > 30000


def test_listing_with_variables() -> None:
    done = stap("-L", 'kernel.function("vfs_read").return')
    assert done.out == (
        'kernel.function("vfs_read").return $return:ssize_t $file:struct file* $buf:char*'
        " $count:size_t $pos:loff_t*\n"
    )


def test_what_there_is_no_place_for_says_so_at_pass_4() -> None:
    if Path("/sys/bus/event_source/devices/kprobe").exists():
        pytest.skip("this kernel has kprobes")
    done = stap("-p4", "-e", 'probe kernel.function("vfs_read") { println($count) }')
    assert done.status == 1
    assert 'this kernel cannot probe its functions (kernel.function("vfs_read"))' in done.err
    done = stap("-p2", "-e", 'probe kernel.function("vfs_read") { println($count) }')
    assert (done.status, done.err) == (0, "")
