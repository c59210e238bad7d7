"""Tracepoints of the running kernel, and of one made up where tracefs is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from probes import fakekernel
from probes.points import env, expr_text, kernel_btf, parse_var, resolve, show
from pystap.debuginfo.btf import Btf
from pystap.diag.diagnostic import DiagnosticError
from pystap.kernel import event_systems
from pystap.lang.visit import walk
from pystap.probes.core import CoreContext
from pystap.probes.target import CType


def test_every_tracepoint_resolves_and_lists_its_arguments() -> None:
    matches = resolve('kernel.trace("*")')
    names = {tracepoint.name for tracepoint in kernel_btf().tracepoints()}
    assert {match.points[0][1].name for match in matches} == names
    for match in matches:
        [(text, attach)] = match.points
        variables = match.context.variables()
        assert len(variables) == attach.arguments, text
        for name, ctype in variables:
            assert name.startswith("$"), text
            assert ctype, text
            assert " *" not in ctype.replace("(*", ""), text


def by_value(ctype: str) -> bool:
    """Whether an argument is a whole structure."""
    typedefs = ("kuid_t", "kgid_t", "pgd_t", "pud_t", "pmd_t", "pte_t", "swp_entry_t", "pgprot_t")
    return (ctype.startswith(("struct", "union")) and "*" not in ctype) or ctype in typedefs


def test_every_argument_and_list_has_a_value() -> None:
    for match in resolve('kernel.trace("*")'):
        text = match.context.resolve(parse_var("$$parms"))
        used = {node.index for node in walk(text) if isinstance(node, CoreContext)}
        assert used <= set(range(match.points[0][1].arguments))
        for name, ctype in match.context.variables():
            if by_value(ctype):
                with pytest.raises(DiagnosticError, match="instead of a member"):
                    match.context.resolve(parse_var(name))
            else:
                made = match.context.resolve(parse_var(name))
                assert isinstance(made.ctype, CType)


def test_pretty_texts_of_every_structure_argument() -> None:
    made = 0
    for match in resolve('kernel.trace("sched*")'):
        for name, ctype in match.context.variables():
            if ctype.startswith("struct") and ctype.endswith("*"):
                expr_text(match.context.resolve(parse_var(f"{name}$")))
                expr_text(match.context.resolve(parse_var(f"{name}$$")))
                made += 1
    assert made > 10


def test_sched_switch() -> None:
    [match] = resolve('kernel.trace("sched_switch")')
    assert ("$prev", "struct task_struct*") in match.context.variables()
    [same] = resolve('kernel.trace("sched:sched_switch")')
    assert same.points == match.points
    comm = match.context.resolve(parse_var("$next->comm"))
    assert isinstance(comm.ctype, CType)
    assert comm.ctype.text() == "char*"


def test_systems_are_known_without_a_mount() -> None:
    before = Path("/proc/self/mountinfo").read_text()
    systems = event_systems.event_systems()
    assert systems is not None
    assert systems["sched_switch"] == "sched"
    assert Path("/proc/self/mountinfo").read_text() == before


def test_system_in_pattern() -> None:
    texts = [
        text for match in resolve('kernel.trace("sched:sched_w*")') for text, _ in match.points
    ]
    assert 'kernel.trace("sched:sched_wakeup")' in texts
    assert all(text.startswith('kernel.trace("sched:') for text in texts)
    with pytest.raises(DiagnosticError, match="no tracepoint 'nosuch:sched_switch'"):
        resolve('kernel.trace("nosuch:sched_switch")')


def test_nothing_matches() -> None:
    with pytest.raises(DiagnosticError, match="no tracepoint 'sched_swich'") as refused:
        resolve('kernel.trace("sched_swich")')
    assert "sched_switch" in (refused.value.diagnostic.hint or "")
    assert resolve('kernel.trace("no_such_*")') == []


def test_numbered_arguments() -> None:
    [match] = resolve('kernel.tracepoint("sched_switch")')
    assert match.points[0][0] == 'kernel.tracepoint("sched_switch")'
    assert ("$arg3", "struct task_struct*") in match.context.variables()
    [named] = resolve('kernel.trace("sched_switch")')
    own, other = parse_var("$arg3->pid"), parse_var("$next->pid")
    assert expr_text(match.context.resolve(own)) == expr_text(named.context.resolve(other))
    assert expr_text(match.context.resolve(parse_var("$$system"))) == '""'
    with pytest.raises(DiagnosticError, match="without system"):
        resolve('kernel.tracepoint("sched:sched_switch")')


@pytest.mark.parametrize(
    "text",
    [
        'java("x").class("y").method("z")',
        'python3.module("x").function("y")',
    ],
)
def test_what_is_not_supported_is_said_to_be(text: str) -> None:
    with pytest.raises(DiagnosticError, match="not supported"):
        resolve(text)


def test_malformed() -> None:
    for text in ('kernel.trace("x").return', "kernel.trace", "kernel.trace(3)", "kernel.tracer"):
        with pytest.raises(DiagnosticError):
            resolve(text)


@pytest.fixture
def fake(tmp_path: Path) -> Btf:
    return fakekernel.write(tmp_path)


def test_without_tracefs(fake: Btf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_systems, "event_systems", lambda: None)
    here = env(btf=lambda: fake)
    [match] = resolve('kernel.trace("things:thing_done")', here)
    assert match.points[0][0] == 'kernel.trace("thing_done")'
    assert "not checked" in match.notes[0]
    with pytest.raises(DiagnosticError, match="tracefs is not available"):
        resolve('kernel.trace("things:*")', here)
    assert len(resolve('kernel.trace("*")', here)) == 3


def test_modules(fake: Btf) -> None:
    here = env(btf=lambda: fake)
    [match] = resolve('kernel.trace("extra_event")', here)
    assert show([match]).endswith("Tracepoint(name='extra_event', arguments=2, module='extra')")
    # What the kernel only declares, the module defines.
    secret = match.context.resolve(parse_var("$thing->hidden->secret"))
    assert expr_text(secret) == "s64[u64[(arg1 + 208)]]"
    assert expr_text(match.context.resolve(parse_var("$op->secret"))) == "s64[arg0]"


def test_by_module(fake: Btf) -> None:
    here = env(btf=lambda: fake)
    for text in ('module("extra").tracepoint("extra_event")', 'module("e*").tracepoint("*")'):
        [match] = resolve(text, here)
        assert show([match]).endswith(
            "Tracepoint(name='extra_event', arguments=2, module='extra')"
        )
        assert match.points[0][0] == 'module("extra").tracepoint("extra_event")'
        assert [name for name, _ in match.context.variables()] == ["$arg1", "$arg2"]
        assert expr_text(match.context.resolve(parse_var("$$system"))) == '""'
    assert resolve('module("nix*").tracepoint("*")', here) == []
    with pytest.raises(DiagnosticError, match="no module 'nix' with tracepoints"):
        resolve('module("nix").tracepoint("extra_event")', here)
    with pytest.raises(DiagnosticError, match="'extra_evnt' in module 'extra'") as refused:
        resolve('module("extra").tracepoint("extra_evnt")', here)
    assert refused.value.diagnostic.hint == "did you mean extra_event?"


def test_sharing_depends_on_what_is_used() -> None:
    matches = resolve('kernel.trace("sched_*")')
    assert len({match.context.key_for([]) for match in matches}) == 1
    by_name = {match.points[0][1].name: match.context for match in matches}
    wakeup, new = by_name["sched_wakeup"], by_name["sched_wakeup_new"]
    assert wakeup.key_for(["$p"]) == new.key_for(["$p"])
    assert wakeup.key_for(["$$name"]) != new.key_for(["$$name"])
    assert wakeup.key_for(["$p"]) != by_name["sched_switch"].key_for(["$next"])
