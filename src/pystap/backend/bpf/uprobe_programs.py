"""Programs that stand at the entry and at the return of functions, and what a call remembers."""

from __future__ import annotations

from pystap.backend.bpf import helpers
from pystap.backend.bpf.attachments import Entry, check_process
from pystap.backend.bpf.levels import level_of
from pystap.backend.bpf.programs import check_running, emit_handler
from pystap.backend.llvm.object import MAGIC_CALL
from pystap.kernel.bpf import PROG_TYPE_KPROBE, TRACE_UPROBE_SESSION
from pystap.kernel.features import SESSION_FUNCTIONS
from pystap.probes.attach import Uprobe
from pystap.typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pystap.backend.bpf.context_values import ProgramKind
    from pystap.backend.bpf.unit import Unit
    from pystap.backend.bpf.uprobe_sessions import Pair
    from pystap.backend.llvm.builder import FunctionBuilder, Value
    from pystap.ir.module import Probe

_IS_RETURN: Final = MAGIC_CALL + 2
_WORD_OF_CALL: Final = MAGIC_CALL + 3
_FUNCTIONS: Final = dict(zip((_IS_RETURN, _WORD_OF_CALL), SESSION_FUNCTIONS))
#: what a call's word differs by from the value it stands for: 0 is that of a call without one
_NOT_NOTHING: Final = 0x5BD1_E995_9D1B_58CD


def remember(b: FunctionBuilder, value: Value) -> None:
    """Emit that the call which has just begun remembers a value."""
    word = _word(b)
    with b.if_(word.ne(0)):
        b.store(value ^ _NOT_NOTHING, word)


def remembered(b: FunctionBuilder) -> Value:
    """Emit the reading of what the call that returns has remembered."""
    return _read(b) ^ _NOT_NOTHING


def _word(b: FunctionBuilder) -> Value:
    return b.helper(_WORD_OF_CALL, "ptr")


def _read(b: FunctionBuilder) -> Value:
    """The word of a call, 0 for none."""
    word, value = _word(b), b.var("i64", 0)
    with b.if_(word.ne(0)):
        value.set(b.load("i64", word))
    return value.get()


def session_entries(unit: Unit) -> list[Entry]:
    """The programs of all pairs, those with the same handlers together."""
    groups: dict[tuple[int, int, int, Uprobe], list[Pair]] = {}
    for pair in unit.paired:
        entry, back = unit.module.probes[pair.entry], unit.module.probes[pair.back]
        assert isinstance(back.attach, Uprobe)
        alike = back.attach._replace(path="", offset=0, symbol="", semaphore=0, body=0)
        key = (entry.handler, back.handler, back.condition, alike)
        groups.setdefault(key, []).append(pair)
    return [_session(unit, pairs) for pairs in groups.values()]


def _session(unit: Unit, pairs: list[Pair]) -> Entry:
    from pystap.backend.bpf import faulting

    unit.kernel_calls = _FUNCTIONS
    entry, back = unit.module.probes[pairs[0].entry], unit.module.probes[pairs[0].back]
    name = f"probe.{pairs[0].back}"
    enter = _part(unit, f"{name}.enter", entry, "uprobe")
    leave = _part(unit, f"{name}.leave", back, "uretprobe")
    with unit.m.function(name, "i64", [("ptr", "event")]) as b:
        number = b.helper(helpers.GET_ATTACH_COOKIE, "i64", b.args[0], pure=True)
        returns = b.helper(_IS_RETURN, "i64") & 0xFF
        with b.if_(returns.ne(0)):
            with b.if_(_read(b).ne(0)):
                b.call(leave, b.args[0], number & 0xFFFF_FFFF)
            b.ret(0)
        b.call(enter, b.args[0], number >> 32)
        b.ret(_read(b).eq(0).zext("i64"))  # 1: the return is of no interest
    indexes = tuple(index for pair in pairs for index in pair)
    sleepable = faulting.sleeps(unit)
    return Entry(
        name, PROG_TYPE_KPROBE, "uprobe_session", indexes,
        expected_attach=TRACE_UPROBE_SESSION, sleepable=sleepable,
    )  # fmt: skip


def _part(unit: Unit, name: str, probe: Probe, kind: ProgramKind) -> str:
    """The function ``(event, probe)`` of one of both handlers."""
    where = probe.attach
    assert isinstance(where, Uprobe)
    params = [("ptr", "event"), ("i64", "probe")]
    with unit.m.function(name, "i64", params, linkage="internal", attrs=["alwaysinline"]) as b:
        check_running(unit, b)
        check_process(unit, b, where.program, where.pid, where.target_only)
        emit_handler(unit, b, kind, b.args[0], probe, b.args[1], level_of(where))
        b.ret(0)
    return name
