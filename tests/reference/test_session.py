"""From begin to end: which probes run when, and what is reported."""

from __future__ import annotations

import pytest

from pystap.backend.reference import Environment, Event, InterpreterError, Task
from pystap.ir import ops

from .irbuild import Build, arith, call_intrinsic, do, e, emit, get, put


def failing(b: Build) -> ops.Stmt:
    return ops.Eval(arith("/", 1, 0, b.pos("operator '/'")))


def test_order() -> None:
    b = Build()
    b.session("end", [emit("end2 ")], order=2)
    b.session("end", [emit("end1 ")], order=1)
    b.session("begin", [emit("begin5 ")], order=5)
    b.session("begin", [emit("begin-1 ")], order=-1)
    b.session("begin", [emit("begin5b ")], order=5)
    b.session("init", [emit("init ")])
    b.session("never", [emit("never ")])
    b.session("error", [emit("error ")])
    event = b.probe([emit("event ")])
    result = b.run([(event, Event()), ("timer.s(1)", Event())])
    assert result.output == b"init begin-1 begin5 begin5b event event end1 end2 "
    assert (result.status, result.messages) == (0, [])


def test_exit_lets_the_handler_go_on_and_no_other_probe_start_but_end() -> None:
    b = Build()
    b.session("begin", [emit("begin ")])
    b.session("end", [emit("end ")])
    event = b.probe([emit("event "), do("exit"), emit("after ")])
    assert b.run([(event, Event())] * 3).output == b"begin event after end "


def test_exit_in_a_begin_probe() -> None:
    b = Build()
    b.session("begin", [do("exit"), emit("one ")])
    b.session("begin", [emit("two ")], order=1)
    b.session("end", [emit("end ")])
    event = b.probe([emit("event ")])
    assert b.run([(event, Event())]).output == b"one end "


def test_abort_leaves_the_handler_and_cannot_be_caught() -> None:
    b = Build()
    b.session("end", [emit("end ")])
    event = b.probe([ops.Try([emit("event "), do("abort"), emit("never")], None, [emit("never")])])
    result = b.run([(event, Event())] * 2)
    assert (result.output, result.status, result.errors) == (b"event end ", 0, 0)


def test_more_errors_than_allowed_end_the_session() -> None:
    for allowed, runs, status in ((0, 1, 1), (1, 2, 1), (5, 4, 0)):
        b = Build()
        b.module.limits.maxerrors = allowed
        b.session("end", [emit("end")])
        b.session("error", [emit("error")])
        event = b.probe([emit("x"), failing(b)])
        result = b.run([(event, Event())] * 4)
        assert result.output == b"x" * runs + (b"error" if status else b"end")
        assert (result.errors, result.status) == (runs, status)
        assert len(result.messages) == runs + 1
        assert result.messages[-1] == f"WARNING: Number of errors: {runs}, skipped probes: 0"


def test_an_error_in_a_begin_probe_ends_the_session() -> None:
    b = Build()
    b.session("begin", [failing(b)])
    b.session("begin", [emit("second")], order=1)
    b.session("error", [emit("error")])
    b.session("end", [emit("end")])
    event = b.probe([emit("event")])
    assert b.run([(event, Event())]).output == b"error"


def test_an_error_in_an_end_probe_brings_the_error_probes() -> None:
    b = Build()
    b.session("end", [emit("end "), failing(b)])
    b.session("end", [emit("second")], order=1)
    b.session("error", [emit("error1 "), failing(b)])
    b.session("error", [emit("error2 ")], order=1)
    result = b.run()
    assert (result.output, result.errors, result.status) == (b"end error1 error2 ", 2, 1)


def test_suppressed_errors() -> None:
    b = Build()
    b.module.limits.suppress_handler_errors = True
    b.session("end", [emit("end")])
    event = b.probe([emit("x"), failing(b), emit("never")])
    result = b.run([(event, Event())] * 3)
    assert (result.output, result.errors, result.suppressed_errors) == (b"xxxend", 0, 3)
    assert result.messages == ["WARNING: Number of errors: 3, skipped probes: 0"]
    assert result.status == 0


def test_conditions_decide_whether_a_handler_runs() -> None:
    b = Build()
    armed = b.scalar("armed")
    event = b.probe([emit("x")], condition=get(armed))
    toggle = b.probe([put(armed, ops.Not(get(armed)))], "timer.s(2)")
    order = [event, toggle, event, event, toggle, event]
    assert b.run([(i, Event()) for i in order]).output == b"xx"


def test_session_probes_have_conditions_too() -> None:
    b = Build()
    b.session("begin", [emit("yes ")], order=1)
    b.session("begin", [emit("never")], order=2)
    for index, value in enumerate((1, 0)):
        b.module.conditions.append(e(value))
        b.module.probes[index] = b.module.probes[index]._replace(condition=index)
    assert b.run().output == b"yes "


def test_warnings_can_be_hidden() -> None:
    result = Build().begin(do("warn", "x"), env=Environment(quiet_warnings=True))
    assert result.messages == []


def test_warnings_and_errors_keep_their_order() -> None:
    b = Build()
    b.module.limits.maxerrors = 9
    event = b.probe([do("warn", "one\n"), do("error", "two", pos=b.pos("identifier 'error'", 7))])
    result = b.run([(event, Event())])
    assert result.messages == [
        "WARNING: one",
        "ERROR: two near identifier 'error' at t.stp:7:1 in probe timer.s(1)",
        "WARNING: Number of errors: 1, skipped probes: 0",
    ]


def test_an_error_without_position() -> None:
    b = Build()
    assert b.begin(do("error", "oh")).messages[0] == "ERROR: oh"


def test_messages_are_cut_to_a_string() -> None:
    b = Build()
    b.module.limits.maxstringlen = 6
    m = b.local("m", ops.Ty.STR)
    text = ops.Try([do("error", ops.Concat([e("abc"), e("defgh")]))], m, [emit("%s", get(m))])
    assert b.begin(text).output == b"abcde"


def test_commands_and_signals() -> None:
    b = Build()
    event = b.probe([do("system", "date"), do("raise_signal", 9), do("raise_signal", 99)])
    result = b.run([(event, Event(task=Task(tid=77)))])
    assert (result.commands, result.signals) == (["date"], [(77, 9)])


def test_what_an_event_brings() -> None:
    value = ops.ContextValue
    b = Build()
    kinds = [value("arg", 1), value("sysarg", 0), value("funcarg", 2), value("reg", 7)]
    kinds += [value("sysnr"), value("sysret"), value("retval"), value("ip"), value("probe_id")]
    b.probe([])
    event = b.probe([emit(" ".join(["%d"] * len(kinds)), *kinds)], "perf.sw.cpu_clock")
    happened = Event(
        arguments=(1, -2), sysargs=(3,), funcargs=(0, 0, 4), registers={7: 5}, sysnr=6, sysret=-7,
        retval=1 << 63, ip=9,
    )  # fmt: skip
    result = b.run([("perf.sw.cpu_clock", happened)])
    assert result.output.decode() == f"-2 3 4 5 6 -7 {-(1 << 63)} 9 {event}"


@pytest.mark.parametrize("kind", ["arg", "sysarg", "funcarg", "reg"])
def test_what_an_event_does_not_bring(kind: str) -> None:
    b = Build()
    event = b.probe([emit("%d", ops.ContextValue(kind, 3))])  # type: ignore[arg-type]
    with pytest.raises(InterpreterError, match="scripted event"):
        b.run([(event, Event(arguments=(1,)))])


def test_events_of_no_probe_are_refused() -> None:
    b = Build()
    begin = b.session("begin", [])
    with pytest.raises(InterpreterError, match="no probe"):
        b.run([("timer.ms(1)", Event())])
    with pytest.raises(InterpreterError, match="not an event"):
        b.run([(begin, Event())])


def test_clocks_follow_the_events() -> None:
    names = ("ktime_get_ns", "ktime_get_boot_ns", "gettimeofday_ns", "jiffies", "get_cycles")
    b = Build()
    event = b.probe([emit("%d %d %d %d %d\n", *(call_intrinsic(n) for n in names))])
    env = Environment(
        start_monotonic_ns=10**9, start_boot_ns=2 * 10**9, start_realtime_ns=3 * 10**9
    )
    result = b.run([(event, Event()), (event, Event(time_ns=4_000_000))], env)
    assert result.output == (
        b"1000000000 2000000000 3000000000 250 1000000000\n"
        b"1004000000 2004000000 3004000000 251 1004000000\n"
    )


def test_the_current_task() -> None:
    names = ("pid", "tid", "uid", "gid", "cpu", "task_current", "cgroup_id", "in_target")
    b = Build()
    event = b.probe(
        [emit("%s" + " %d" * 8, call_intrinsic("execname"), *(call_intrinsic(n) for n in names))]
    )
    task = Task(1, 2, "a-rather-long-name", 3, 4, 5, 0x1000, True)
    result = b.run([(event, Event(cpu=6, task=task))])
    assert result.output == b"a-rather-long-n 1 2 3 4 6 4096 5 1"
