"""What becomes a kernel module, or is armed before a module is loaded, finds symbols by what is in
their files: nothing of where they are now."""

from __future__ import annotations

from pathlib import Path

import pytest

from probes.madeup import VMLINUX, MadeUp, compiled
from probes.points import expr_text, parse_var, resolve, resolve_parts, token
from pystap.debuginfo.elf import SHT_SYMTAB, STT_FUNC, Elf
from pystap.diag.diagnostic import DiagnosticError, Diagnostics
from pystap.lang import ast
from pystap.probes import kernel_vars
from pystap.probes.attach import AT_LOAD, KernelFunction, Watchpoint
from pystap.probes.base import ProbeEnv
from pystap.probes.kernel_addresses import BOOT


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> MadeUp:
    return MadeUp(tmp_path_factory.mktemp("made") / "up")


@pytest.fixture
def env(kernel: MadeUp, monkeypatch: pytest.MonkeyPatch) -> ProbeEnv:
    monkeypatch.setenv("SYSTEMTAP_DEBUGINFO_PATH", "/nonexistent")
    monkeypatch.delenv("DEBUGINFOD_URLS", raising=False)
    return kernel.env()


def test_functions_of_one_name_in_a_module_that_comes(tmp_path: Path, env: ProbeEnv) -> None:
    """They are told apart by the distance from a symbol that is the only one of its name."""
    path = tmp_path / "pair.ko"
    twin = """extern volatile long sink;
    static __attribute__((noinline)) int twin(int n) {{ sink = n; return n + {}; }}
    """
    use = "int {}(int n) {{ return twin(n); }}\n"
    compiled(
        path, "volatile long sink;\nint first(int n) { return n; }\n",
        twin.format(1) + use.format("second"), twin.format(2) + use.format("third"),
    )  # fmt: skip
    found = resolve_parts(f'module("{path}").function("twin")', env)
    places = [match.points[0][1] for match in found]
    with Elf(str(path)) as elf:
        symbols = [(s.value, s.name) for s in elf.symbols(SHT_SYMTAB) if s.kind == STT_FUNC]
    starts = {name: value for value, name in symbols}
    expected = []
    for number, value in enumerate(sorted(value for value, name in symbols if name == "twin")):
        anchor = max((starts[n], n) for n in ("first", "second", "third") if starts[n] < value)
        expected.append(
            KernelFunction(
                "twin", "pair", instance=number, later=True,
                anchor=anchor[1], apart=value - anchor[0],
            )
        )  # fmt: skip
    assert sorted(places, key=str) == sorted(expected, key=str)


def test_addresses_that_a_kernel_module_finds(kernel: MadeUp, env: ProbeEnv) -> None:
    """Nothing of where the kernel and its modules are now is in what becomes a module."""
    env.runtime = "kernel"
    texts = {}
    [match] = resolve_parts(f'module("{kernel.module}").function("extra_open@extra.c")', env)
    for name in ("$counter", "$zeros[1]"):
        var = parse_var(name)
        var.address_of = True
        texts[name] = expr_text(match.context.resolve(var))
    assert texts == {
        "$counter": "+kernel_place('extra:counter', -1)",
        "$zeros[1]": "(kernel_place('extra:zeros', -1) + 4)",
    }
    node = ast.AtVar(tok=token("@var"), target="counter@sub/other.c", module="kernel")
    node.components, node.address_of = [], True
    assert expr_text(kernel_vars.expand_var(node, env)).startswith(
        "(kernel_place('_stext', -1) + "
    )
    assert env.debug is not None
    assert BOOT not in env.debug.files


def test_symbols_that_share_their_names(tmp_path: Path, env: ProbeEnv) -> None:
    """Where a section has no other, the number among those of a name tells them apart; what only
    the start of the module needs does not count."""
    path = tmp_path / "same.ko"
    early = '__attribute__((section(".init.data"))) static int state = 1;\n'
    use = "int {}(int n) {{ state += n; return state; }}\n"
    compiled(path, early + use.format("a"), "static int state = 2;\n" + use.format("b"),
             "static int state = 3;\n" + use.format("c"))  # fmt: skip
    env.runtime = "kernel"
    found = []
    for name in "bc":
        [match] = resolve_parts(f'module("{path}").function("{name}@{name}.c")', env)
        var = parse_var("$state")
        var.address_of = True
        found.append(expr_text(match.context.resolve(var)))
    with Elf(str(path)) as elf:
        values = [s.value for s in elf.symbols(SHT_SYMTAB) if s.name == "state"]
    assert len(values) == 3
    assert found == ["+kernel_place('same:state', 0)", "+kernel_place('same:state', 1)"]


def test_watched_variables_of_another_kernel(tmp_path: Path) -> None:
    """Their names stay: where they are and how long is found where the module is loaded."""
    env = MadeUp(tmp_path / "made", "9.9.9").env()
    env.runtime = "kernel"
    [match] = resolve('kernel.data("total").write', env)
    assert match.points[0][1] == Watchpoint(0, AT_LOAD, "write", symbol="total")


def test_absolute_places_of_another_kernel(tmp_path: Path) -> None:
    """Nothing needs to be known of the kernel."""
    env = ProbeEnv(btf=lambda: pytest.fail("asked for types"), diags=Diagnostics())
    (tmp_path / "include/generated").mkdir(parents=True)
    (tmp_path / "include/generated/utsrelease.h").write_text('#define UTS_RELEASE "9.9.9"\n')
    env.release, env.runtime, env.guru = str(tmp_path), "kernel", True
    for point in ("kernel.statement", "kprobe.statement"):
        [match] = resolve(f"{point}(0xffffffff81000010).absolute", env)
        assert match.points == [
            (
                f"{point}(0xffffffff81000010).absolute",
                KernelFunction("", address=0xFFFFFFFF81000010),
            )
        ]


def test_code_that_is_gone_when_a_kernel_has_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = '__attribute__((section(".init.text"))) int at_start(int n) { return n; }\n'
    monkeypatch.setattr("probes.madeup.VMLINUX", VMLINUX + start)
    monkeypatch.setenv("SYSTEMTAP_DEBUGINFO_PATH", "/nonexistent")
    env = MadeUp(tmp_path / "made", "9.9.9").env()
    env.runtime, env.functions = "kernel", None
    found = resolve_parts('kernel.function("*@work.c").call', env)
    places = [where for match in found for _, where in match.points]
    symbols = {where.symbol for where in places if isinstance(where, KernelFunction)}
    assert "work" in symbols
    assert "at_start" not in symbols
    with pytest.raises(DiagnosticError, match=r"no match for 'at_start@work\.c'"):
        resolve_parts('kernel.function("at_start@work.c")', env)
