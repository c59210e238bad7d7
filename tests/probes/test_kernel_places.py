"""Places in the source of the kernel and of modules, and what is seen there, by debug information
compiled for these tests."""

from __future__ import annotations

import contextlib
import re
import shutil
from pathlib import Path

import pytest

from probes.madeup import MODULE, VMLINUX, MadeUp, line
from probes.points import parse_var, resolve_parts, token
from pystap.debuginfo.kernelimage import section_file
from pystap.diag.diagnostic import DiagnosticError
from pystap.ir.probe import Probe
from pystap.lang import ast
from pystap.probes import kernel_addresses
from pystap.probes.attach import KernelFunction, SessionEvent
from pystap.probes.base import Match, ProbeEnv
from pystap.probes.core import CoreContext
from pystap.probes.user_code import CalleeContext
from stap import stap


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> MadeUp:
    return MadeUp(tmp_path_factory.mktemp("made") / "up")


@pytest.fixture
def env(kernel: MadeUp, monkeypatch: pytest.MonkeyPatch) -> ProbeEnv:
    monkeypatch.setattr(kernel_addresses, "KALLSYMS", str(kernel.home / "kallsyms"))
    monkeypatch.setenv("SYSTEMTAP_DEBUGINFO_PATH", "/nonexistent")
    monkeypatch.delenv("DEBUGINFOD_URLS", raising=False)
    return kernel.env()


def shown(text: str, env: ProbeEnv) -> list[str]:
    """Each place: what is asked for there, the symbol, and whether it is inside of a function."""
    lines = []
    for match in resolve_parts(text, env):
        for point, where in match.points:
            assert isinstance(where, KernelFunction)
            asked = re.findall(r'"([^"]*)"', point)
            short = " ".join(re.sub(r"/\S*/(?=\w+\.c)", "", one) for one in asked)
            number = f"#{where.instance}" if where.instance >= 0 else ""
            inside = "+" if where.offset else ""
            returns = " return" if where.is_return else ""
            owner = f"{where.module}:" if where.module else ""
            lines.append(f"{short} -> {owner}{where.symbol}{number}{inside}{returns}")
    return sorted(lines)


def test_functions_of_a_file(env: ProbeEnv) -> None:
    """Those that may not be probed are left out; inlined ones are where they were inlined."""
    found = shown('kernel.function("*@work.c")', env)
    names = [text.partition("@")[0] for text in found]
    assert names == ["_start", "both", "both", "doubled", "doubled", "twin", "work"]
    assert [text.rpartition(" ")[2].rstrip("+") for text in found] == [
        "_start", "_start", "both", "_start", "work", "twin#0", "work",
    ]  # fmt: skip
    calls = shown('kernel.function("*@work.c").call', env)
    assert [text.partition("@")[0] for text in calls] == ["_start", "both", "twin", "work"]
    returns = shown('kernel.function("*@work.c").return', env)
    assert returns == [f"{text} return" for text in calls]
    inlined = shown('kernel.function("*@work.c").inline', env)
    assert [text.partition("@")[0] for text in inlined] == ["both", "doubled", "doubled"]


def test_bound_of_returns(env: ProbeEnv) -> None:
    [match] = resolve_parts('kernel.function("work@work.c").return.maxactive(3)', env)
    [(text, where)] = match.points
    assert where == KernelFunction("work", is_return=True, maxactive=3)
    assert text.endswith('").return.maxactive(3)')


def test_functions_of_one_name(env: ProbeEnv) -> None:
    """They are told apart by file; a name alone means all, each with its variables."""
    [first] = shown('kernel.function("twin@work.c")', env)
    [second] = shown('kernel.function("twin@sub/other.c")', env)
    assert first.endswith("-> twin#0")
    assert second.endswith("-> twin#1")
    assert shown('kernel.function("twin")', env) == ["twin -> twin#0", "twin -> twin#1"]
    for match in resolve_parts('kernel.function("twin")', env):
        assert match.context.variables() == [("$n", "int")]


def test_a_name_means_where_it_was_inlined_too(env: ProbeEnv) -> None:
    found = shown('kernel.function("doubled")', env)
    assert [text.rpartition(" ")[2].rstrip("+") for text in found] == ["_start", "work"]
    with pytest.raises(DiagnosticError, match="no function 'doubled'"):
        resolve_parts('kernel.function("doubled").call', env)


@pytest.mark.parametrize("lines", ["total", "sink", "out"])
def test_statement(lines: str, env: ProbeEnv) -> None:
    number = line(VMLINUX, lines)
    [found] = shown(f'kernel.statement("work@work.c:{number}")', env)
    assert found == f"work@work.c:{number} -> work+"
    [found] = shown(f'kernel.statement("*@work.c:{number}")', env)
    assert found == f"work@work.c:{number} -> work+"
    start = line(VMLINUX, "work")
    [found] = shown(f'kernel.statement("work@work.c+{number - start}")', env)
    assert found == f"work@work.c:{number} -> work+"


def test_several_statements(env: ProbeEnv) -> None:
    total, sink = line(VMLINUX, "total"), line(VMLINUX, "sink")
    both = [f"work@work.c:{n} -> work+" for n in (total, sink)]
    assert shown(f'kernel.statement("*@work.c:{total}-{sink}")', env) == sorted(both)
    assert shown(f'kernel.statement("*@work.c:{total},{sink}")', env) == sorted(both)
    every = shown('kernel.statement("work@work.c:*")', env)
    assert set(both) < set(every)


def test_nearest_statement(env: ProbeEnv) -> None:
    nothing = line(VMLINUX, "total") - 1  # an empty line
    with pytest.raises(DiagnosticError, match=rf"no line records for work\.c:{nothing} .*try"):
        resolve_parts(f'kernel.statement("work@work.c:{nothing}")', env)
    [found] = shown(f'kernel.statement("work@work.c:{nothing}").nearest', env)
    assert found == f"work@work.c:{nothing + 1} -> work+"


def test_by_address(kernel: MadeUp, env: ProbeEnv) -> None:
    """Addresses are those of the kernel that runs."""
    [start] = kernel.addresses["work"]
    [match] = resolve_parts(f"kernel.statement({start})", env)
    assert match.points[0][0] == f"kernel.statement({start:#x})"
    assert [name for name, _ in match.context.variables()] == ["$node", "$n", "$colour"]
    [match] = resolve_parts(f"kernel.statement({start + 1}).nearest", env)
    assert match.points[0][1] == KernelFunction("work")
    [match] = resolve_parts(f"kernel.function({start + 3})", env)
    assert match.points[0][1] == KernelFunction("work")
    for suffix in (".call", ".return"):
        [match] = resolve_parts(f"kernel.function({start}){suffix}", env)
        assert match.points[0][0] == f"kernel.function({start:#x}){suffix}"
    [match] = resolve_parts(f"kernel.function({start + 1}).return.maxactive(4)", env)
    assert match.points[0][1] == KernelFunction("work", is_return=True, maxactive=4)
    with pytest.raises(DiagnosticError, match="no function of the kernel at address 0x1"):
        resolve_parts("kernel.statement(0x1).nearest", env)


def test_inlined_by_address(kernel: MadeUp, env: ProbeEnv) -> None:
    [where] = [
        where
        for match in resolve_parts('kernel.function("doubled").inline', env)
        for _, where in match.points
        if isinstance(where, KernelFunction) and where.symbol == "work"
    ]
    place = kernel.addresses["work"][0] + where.offset
    [match] = resolve_parts(f"kernel.function({place}).inline", env)
    assert match.points == [(f"kernel.function({place:#x}).inline", where)]
    assert resolve_parts(f"kernel.function({kernel.addresses['other'][0]}).inline", env) == []


def test_exported_of_a_module(kernel: MadeUp, env: ProbeEnv) -> None:
    """Nothing of this one is."""
    assert shown(f'module("{kernel.module}").function("*@extra.c").exported', env) == []


def test_labels_and_calls(env: ProbeEnv) -> None:
    [label] = shown('kernel.function("work").label("o*")', env)
    assert label.endswith(" out -> work+")
    calls = shown('kernel.function("work").callee("*")', env)
    assert [text.rpartition("> ")[2].rstrip("+") for text in calls] == ["work", "twin#0"]
    [entry] = shown('kernel.function("work").callee("twin").call', env)
    [back] = shown('kernel.function("work").callee("twin").return', env)
    assert back == f"{entry} return"
    [other] = shown('kernel.function("other").callee("twin")', env)
    assert other.endswith("-> twin#1")
    one = shown('kernel.function("work").callees', env)
    assert [text.rpartition("> ")[2].rstrip("+") for text in one] == ["work", "twin#0"]
    two = shown('kernel.function("_start").callees(2)', env)
    assert sum("-> twin#0" in text for text in two) == 1


def test_module(kernel: MadeUp, env: ProbeEnv) -> None:
    """By the path of its file, then by name; what was thrown away after the start is not there."""
    flags = line(MODULE, "flags")
    for module in (kernel.module, "extra", "ex*"):
        found = shown(f'module("{module}").function("*@extra.c")', env)
        assert [text.rpartition(" ")[2] for text in found] == [
            "extra:extra_last",
            "extra:extra_open",
        ]
        [found] = shown(f'module("{module}").statement("*@extra.c:{flags}")', env)
        assert found == f"extra extra_open@extra.c:{flags} -> extra:extra_open"
    with pytest.raises(DiagnosticError, match="module 'another' is not loaded"):
        resolve_parts('module("another").function("*@extra.c")', env)


def test_calls_from_the_last_function_of_a_module(kernel: MadeUp, env: ProbeEnv) -> None:
    [match] = resolve_parts(
        f'module("{kernel.module}").function("extra_last").callee("extra_open")', env
    )
    assert isinstance(match.context, CalleeContext)
    guard = match.context.guard(token("x"))
    assert isinstance(guard, ast.Binary)
    [start] = kernel.addresses["extra_last"]
    [opened] = kernel.addresses["extra_open"]
    for side, distance in ((guard.left, 0), (guard.right, None)):
        assert isinstance(side, ast.Compare)
        bound = compute(side.right, opened) & ((1 << 64) - 1)
        assert bound == start if distance == 0 else bound > start


def test_module_that_is_not_loaded(kernel: MadeUp, env: ProbeEnv, tmp_path: Path) -> None:
    """Its places are known by its file; they are armed when it comes, its beginning too."""
    path = tmp_path / "coming.ko"
    path.write_bytes(kernel.module.read_bytes())
    matches = resolve_parts(f'module("{path}").function("*@extra.c")', env)
    places = {match.points[0][0]: match.points[0][1] for match in matches}
    names = [where.symbol for where in places.values() if isinstance(where, KernelFunction)]
    assert names == ["extra_open", "extra_last", "extra_begin"]
    assert all(isinstance(w, KernelFunction) and w.later for w in places.values())
    assert all(text.startswith('module("coming").function("') for text in places)
    [plain] = resolve_parts(f'module("{path}").function("extra_open")', env)
    assert plain.points[0][1] == KernelFunction("extra_open", "coming", later=True)
    with pytest.raises(DiagnosticError, match="was loaded is not known"):
        plain.context.resolve(parse_var("$counter"))


# --- variables ----------------------------------------------------------------------------------


def compute(node: ast.Expr, ip: int) -> int:
    """An address as it comes out at run time."""
    if isinstance(node, ast.Number):
        return node.value
    if isinstance(node, CoreContext):
        assert node.kind == "ip"
        return ip
    if isinstance(node, ast.Unary):
        return compute(node.operand, ip)
    assert isinstance(node, ast.Binary)
    left, right = compute(node.left, ip), compute(node.right, ip)
    return left + right if node.op == "+" else left - right


def address(match: Match, text: str, ip: int) -> int:
    var = parse_var(text)
    var.address_of = True
    return compute(match.context.resolve(var), ip) & ((1 << 64) - 1)


def test_globals_are_where_the_kernel_was_put(kernel: MadeUp, env: ProbeEnv) -> None:
    at = kernel.addresses
    [match] = resolve_parts('kernel.function("work@work.c")', env)
    assert address(match, "$total", at["work"][0]) == at["total"][0]
    assert address(match, "$later", at["work"][0]) == at["later"][0]
    assert address(match, "$counter", at["work"][0]) == at["counter"][0]
    assert address(match, "$table[2]->next", at["work"][0]) == at["table"][0] + 2 * 24 + 8
    inside = f'kernel.statement("work@work.c:{line(VMLINUX, "out")}")'
    [match] = resolve_parts(inside, env)
    where = match.points[0][1]
    assert isinstance(where, KernelFunction)
    assert address(match, "$total", at["work"][0] + where.offset) == at["total"][0]
    [match] = resolve_parts('kernel.function("other@other.c")', env)
    assert address(match, "$counter", at["other"][0]) == at["counter"][1]


def test_data_of_modules_lie_anywhere(kernel: MadeUp, env: ProbeEnv) -> None:
    at = kernel.addresses
    [match] = resolve_parts(f'module("{kernel.module}").function("extra_open@extra.c")', env)
    assert address(match, "$counter", at["extra_open"][0]) == at["counter"][2]
    assert address(match, "$zeros[1]", at["extra_open"][0]) == at["zeros"][0] + 4
    assert env.debug is not None
    assert "/proc/sys/kernel/random/boot_id" in env.debug.files
    assert section_file("extra", ".data") == "/sys/module/extra/sections/.data"


def test_var_by_unit(kernel: MadeUp, env: ProbeEnv) -> None:
    from pystap.probes.kernel_vars import expand_var

    at = kernel.addresses
    for unit, number in (("work.c", 0), ("sub/other.c", 1)):
        node = ast.AtVar(tok=token("@var"), target=f"counter@{unit}", module="kernel")
        node.components, node.address_of = [], True
        assert compute(expand_var(node, env), 0) & ((1 << 64) - 1) == at["counter"][number]
    node = ast.AtVar(tok=token("@var"), target="nix", module=None)
    with pytest.raises(DiagnosticError, match="unable to find global variable 'nix'"):
        expand_var(node, env)


def test_what_is_gone_is_refused_with_the_reason(env: ProbeEnv) -> None:
    [match] = resolve_parts(f'kernel.statement("work@work.c:{line(VMLINUX, "out")}")', env)
    names = [name for name, _ in match.context.variables()]
    assert "$node" not in names
    with pytest.raises(DiagnosticError, match=r"'\$node' not accessible at this address \(pc: 0x"):
        match.context.resolve(parse_var("$node"))
    for name in names:
        match.context.resolve(parse_var(name))


def test_enumerators(env: ProbeEnv) -> None:
    [match] = resolve_parts('kernel.function("work@work.c")', env)
    found = match.context.resolve(parse_var("$GREEN"))
    assert isinstance(found, ast.Number)
    assert found.value == 5


def test_inlined_places_that_a_handler_does_not_fit(tmp_path: Path) -> None:
    """They are left out with a warning; where all there is is inlined, that is an error."""
    made = MadeUp(tmp_path / "other", "9.9.9-made-up")
    words = ("-r", made.home, "-p2", "-e")
    done = stap(*words, 'probe kernel.function("both") { println($v) }')
    assert done.out.count("kernel.function") == 4, done.err  # each with where it comes from
    assert done.err == ""
    done = stap(*words, 'probe kernel.function("both") { println($v, $unused) }')
    assert re.findall(r"pc=(\w+)\+", done.out) == ["both"], done.err
    assert re.search(r"WARNING: not probed: kernel\.function\(\"both@.*'\$unused'", done.err)
    done = stap(*words, 'probe kernel.function("both").inline { println($unused) }')
    assert done.status == 1
    assert "'$unused' not accessible at this address" in done.err


def test_var_of_several_modules(tmp_path: Path) -> None:
    """The first that has the variable gives it; the last one's error is told."""
    made = MadeUp(tmp_path / "made", "9.9.9-made-up")
    words = ("-r", made.home, "-p2", "-v", "-e")
    texts = []
    for modules in ("kernel", "nix:kernel", "kernel:nix"):
        script = f'probe kernel.function("other") {{ println(@var("total", "{modules}")) }}'
        done = stap(*words, script)
        assert done.status == 0, done.err
        texts.append(done.out.partition("{")[2])
    assert texts[0]
    assert len(set(texts)) == 1
    done = stap(*words, 'probe kernel.function("other") { println(@var("total", "nix:nox")) }')
    assert done.status == 1
    assert "no type information for module 'nox'" in done.err


# --- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("point", "message"),
    [
        ('kernel.function("quiet@work.c")', "no match for 'quiet@work.c'"),
        ('kernel.function("work@sub/other.c")', "no match for 'work@sub/other.c'"),
        ('kernel.function("nix@work.c")', "no match for 'nix@work.c'"),
        ('kernel.function("work").label("nix")', "no match for 'work'"),
        ('kernel.function("work").callee("other")', "no match for 'work'"),
        ('kernel.statement("work@work.c:x")', "malformed source pattern"),
        ('kernel.statement("work@work.c:7-3")', "malformed source pattern"),
        ("kernel.statement(0x1).absolute", "absolute statement probe in unprivileged script"),
        ('kernel.function("")', "a function or module with an empty name"),
    ],
)
def test_refused(point: str, message: str, env: ProbeEnv) -> None:
    with pytest.raises(DiagnosticError, match=re.escape(message)):
        resolve_parts(point, env)


def test_elsewhere(env: ProbeEnv) -> None:
    with pytest.raises(DiagnosticError) as caught:
        resolve_parts('kernel.function("work@sub/other.c")', env)
    assert re.search(r"'work' is in \S*work\.c$", caught.value.diagnostic.hint or "")


def test_without_debug_information(env: ProbeEnv, tmp_path: Path) -> None:
    env.release = f"{tmp_path}/"
    with pytest.raises(DiagnosticError) as caught:
        resolve_parts('kernel.function("work@work.c")', env)
    found = caught.value.diagnostic
    assert found.message.startswith("missing x86_64 kernel/module debuginfo [man warning::debug")
    assert f"looked for {tmp_path}/vmlinux" in found.notes


def test_damaged(kernel: MadeUp, env: ProbeEnv, tmp_path: Path) -> None:
    """Damage is told, or what symbols say remains; there is never a traceback."""
    good = kernel.vmlinux.read_bytes()
    shutil.copytree(kernel.home / "include", tmp_path / "include")
    points = ('kernel.function("*@work.c")', 'kernel.statement("work@work.c:*")',
              'kernel.function("work")', 'kernel.function("work").callee("*")')  # fmt: skip
    for number in range(1, 40):
        raw = bytearray(good[: len(good) * number // 40]) if number % 2 else bytearray(good)
        if not number % 2:
            start = len(raw) * number // 40
            raw[start : start + 200] = bytes(255 - byte for byte in raw[start : start + 200])
        (tmp_path / "vmlinux").write_bytes(raw)
        for point in points:
            fresh = kernel.env()
            fresh.release = str(tmp_path)
            with contextlib.suppress(DiagnosticError):
                for match in resolve_parts(point, fresh):
                    match.context.variables()


@pytest.mark.parametrize(
    ("point", "name"),
    [
        ('kernel.function("work@work.c:3").return', "work"),
        ('module("extra").statement("work@work.c:7")', "work"),
        ('kernel.function("work@work.c:3").callee("twin@work.c:9")', "twin"),
        ('kernel.function("work@work.c:3").label("out")', "work"),
        ("kernel.statement(0xffffffff81000000)", ""),
        ("begin", ""),
    ],
)
def test_function_of_a_probe_point(point: str, name: str) -> None:
    assert Probe(point, point, 0, SessionEvent("begin"), "").function() == name
