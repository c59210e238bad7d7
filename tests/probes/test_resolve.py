"""Probe points of the families that ask nothing of the machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from datadriven import Case, assert_case, load_cases
from probes.points import resolve, show
from pystap.diag.diagnostic import DiagnosticError
from pystap.probes.registry import families, family, roots

_HERE = Path(__file__).parent


@pytest.mark.parametrize("case", load_cases(_HERE / "resolve.test"), ids=str)
def test_resolve(case: Case) -> None:
    lines = []
    for text in case.input.splitlines():
        try:
            lines.append(show(resolve(text)))
        except DiagnosticError as error:
            lines.append(f"error: {error.diagnostic.message}")
    assert_case(case, "\n".join(lines))


def test_every_root_has_its_family() -> None:
    for root in roots():
        found = family(root)
        assert found is not None
        assert root in found.roots


def test_unknown_root() -> None:
    assert family("no_such_root") is None


def test_patterns_are_distinct() -> None:
    shapes = [shape for found in families() for shape in found.patterns()]
    assert len(shapes) == len(set(shapes))
    assert "timer.ms(number).randomize(number)" in shapes


def test_hints_name_what_may_follow() -> None:
    with pytest.raises(DiagnosticError) as error:
        resolve("timer.sek(1)")
    hint = error.value.diagnostic.hint
    assert hint is not None
    assert ".sec(number)" in hint
    assert error.value.diagnostic.token.column == 7


def test_jiffies_follow_the_tick() -> None:
    [match] = resolve("timer.jiffies(100)")
    period = match.points[0][1].period_ns
    hz = 100 * 1_000_000_000 // period
    assert hz in (100, 250, 300, 1000)


def test_hardware_events_without_a_pmu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pystap.probes.perf_events._PMUS", "/nonexistent")
    with pytest.raises(DiagnosticError, match="no hardware performance counters"):
        resolve("perf.hw.cpu_cycles")
    names = [point for match in resolve("perf.*.*") for point, _ in match.points]
    assert "perf.sw.cpu_clock" in names
    assert not [name for name in names if name.startswith("perf.hw.")]


def test_hardware_cache_numbers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "cpu").mkdir()
    monkeypatch.setattr("pystap.probes.perf_events._PMUS", str(tmp_path))
    [match] = resolve("perf.hw_cache.dtlb.write.miss")
    assert (match.points[0][1].type, match.points[0][1].config) == (3, 0x010103)
    [match] = resolve("perf.hw.ref_cpu_cycles")
    assert (match.points[0][1].type, match.points[0][1].config) == (0, 9)
