"""Raw bytes in output and strings: the name of the process that runs the session is read."""

from __future__ import annotations

import pytest

from inprocess import stap

NAME = open("/proc/self/comm").read().strip()  # noqa: SIM115 - tests run in forks of this process
RAW = NAME.encode().ljust(16, b"\0")
HEX = RAW.hex()


def run(expression: str, *options: str, setup: str = "") -> str:
    script = (
        'probe oneshot { p = &@cast(task_current(), "task_struct")->comm[0]; n = 3; big = 5000; '
        f"{setup} {expression} }}"
    )
    done = stap("--disable-cache", *options, "-e", script)
    assert (done.err, done.status) == ("", 0)
    return done.out


@pytest.mark.parametrize(
    ("form", "arguments", "out"),
    [
        ("%.4m", "p", NAME[:4]),
        ("%.16m", "p", RAW.decode()),
        ("%m%M", "p, p", NAME[0] + HEX[:2]),
        ("%.*m|%.*M|", "n, p, n, p", f"{NAME[:3]}|{HEX[:6]}|"),
        ("%6.2m|%-6.2m|%6.2M|%-6.2M|", "p, p, p, p",
         f"    {NAME[:2]}|{NAME[:2]}    |  {HEX[:4]}|{HEX[:4]}  |"),
        ("%.0m|%.0M|%.*M|", "0, 0, -n, p", "|||"),
        ("%d %.2m %d %.16M %s", "n, p, n, p, \"end\"", f"3 {NAME[:2]} 3 {HEX} end"),
    ],
)  # fmt: skip
def test_printed(form: str, arguments: str, out: str) -> None:
    assert run(f'printf("{form}", {arguments})') == out


@pytest.mark.parametrize(
    ("form", "arguments", "out"),
    [
        ("%.4m|", "p", NAME[:4] + "|"),
        ("[%.16m] ends at the NUL", "p", "[" + NAME),
        ("%6.2m|%-6.2m|%6.2M|%-6.2M|", "p, p, p, p",
         f"    {NAME[:2]}|{NAME[:2]}    |  {HEX[:4]}|{HEX[:4]}  |"),
        ("%.0m|%.0M|%.*M|", "0, 0, -n, p", "|||"),
        ("%.*M", "n, p", HEX[:6]),
    ],
)  # fmt: skip
def test_in_strings(form: str, arguments: str, out: str) -> None:
    assert run(f's = sprintf("{form}", {arguments}); print(s)') == out


@pytest.mark.parametrize("most", [5, 6, 512])
def test_strings_are_cut(most: int) -> None:
    out = run('print(sprintf("%.16M", p))', f"-DMAXSTRINGLEN={most}")
    assert out == HEX[: most - 1]


def test_a_page_at_once() -> None:
    assert len(run('printf("%.4096M", p & ~4095)')) == 8192


def test_too_many_bytes_can_be_caught() -> None:
    out = run('try { printf("%.*m", big, p) } catch (m) { print(m) }')
    assert out == "5000 is too many bytes for a memory dump"
