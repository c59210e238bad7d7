"""Runs a module from its begin probes to its end probes, without a kernel."""

from __future__ import annotations

from collections.abc import Iterable
from time import perf_counter_ns

from pystap.backend.reference.arrays import Array
from pystap.backend.reference.compiler import Compiler
from pystap.backend.reference.environment import Environment, Event
from pystap.backend.reference.faults import Aborted, InterpreterError, RuntimeFault, Skipped
from pystap.backend.reference.messages import runtime_error
from pystap.backend.reference.state import Context, Frame, Phase, State
from pystap.backend.reference.stats import Aggregate, PerCpuAggregate
from pystap.ir import errors
from pystap.lang.limits import allow_deep_trees
from pystap.output.hits import Times, times_of
from pystap.probes.attach import SessionEvent
from pystap.records import dataclass, field
from pystap.typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pystap.ir.module import Module, Probe

_UNLIMITED = 1 << 62


@dataclass(slots=True)
class Result:
    """What a session left behind.

    ``messages`` are the lines of stderr (warnings, errors, the final summary).  ``globals`` maps
    names to longs, strings, :class:`Aggregate` values, or dicts of those by key tuple.
    ``status`` is the exit code of the session.  ``times`` are the runs of each probe in
    nanoseconds, when limits.timing asks for them.
    """

    output: bytes
    messages: list[str]
    errors: int
    suppressed_errors: int
    skipped: int
    status: int
    globals: dict[str, Any] = field(default_factory=dict)
    commands: list[str] = field(default_factory=list)
    signals: list[tuple[int, int]] = field(default_factory=list)
    times: list[Times] = field(default_factory=list)


class Interpreter:
    """One session of a module: :meth:`start`, any number of :meth:`run_probe`, :meth:`finish`;
    or all of it by :meth:`run`."""

    def __init__(self, module: Module, environment: Environment | None = None) -> None:
        allow_deep_trees()
        self.module = module
        self.state = State(module, environment or Environment())
        self._compiler = Compiler(module)
        self._runs: list[list[int]] = [[] for _ in module.probes]  # ns of each, for the report

    def run(self, events: Iterable[tuple[int | str, Event]] = ()) -> Result:
        """A whole session: begin probes, events (probe index or probe point, and what happened),
        end or error probes."""
        self.start()
        for probe, event in events:
            self.fire(probe, event)
        return self.finish()

    def start(self) -> None:
        """Run the init and begin probes, lower orders first, until one ends the session."""
        for kind in ("init", "begin"):
            self._run_session_probes(kind, Phase.STARTING)
        if self.state.phase is Phase.STARTING:
            self.state.phase = Phase.RUNNING

    def fire(self, probe: int | str, event: Event | None = None) -> None:
        """An event at a probe index, or at all probes whose point (as of pp()) is ``probe``."""
        if isinstance(probe, int):
            self.run_probe(probe, event)
            return
        found = [i for i, p in enumerate(self.module.probes) if p.point == probe]
        if not found:
            raise InterpreterError(f"no probe at {probe}")
        for index in found:
            self.run_probe(index, event)

    def run_probe(self, index: int, event: Event | None = None) -> bool:
        """One hit of an ordinary probe.  Gives whether its handler ran: not when the session is
        over or the probe's condition does not hold."""
        probe = self.module.probes[index]
        if isinstance(probe.attach, SessionEvent):
            raise InterpreterError(f"{probe.point} is not an event")
        event = event or Event()
        self._set_clocks(event)
        if self.state.phase is not Phase.RUNNING or not self._armed(probe, index, event):
            return False
        self._run_handler(probe, index, event)
        return True

    def finish(self) -> Result:
        """Run the end or error probes and sum up."""
        state = self.state
        if state.phase is not Phase.ERROR:
            state.phase = Phase.STOPPING
            self._run_session_probes("end", Phase.STOPPING)
        if state.phase is Phase.ERROR:
            self._run_session_probes("error", Phase.ERROR)
        failed = state.errors + state.suppressed
        if failed or state.skipped:
            state.messages.append(
                f"WARNING: Number of errors: {failed}, skipped probes: {state.skipped}"
            )
        return Result(
            output=b"".join(state.output),
            messages=state.messages,
            errors=state.errors,
            suppressed_errors=state.suppressed,
            skipped=state.skipped,
            status=int(state.phase is Phase.ERROR),
            globals={g.name: _final(state.globals[g.index]) for g in self.module.globals},
            commands=state.commands,
            signals=state.signals,
            times=[times_of(runs) for runs in self._runs],
        )

    def _set_clocks(self, event: Event) -> None:
        if event.time_ns is not None:
            self.state.environment.elapsed_ns = event.time_ns

    def _armed(self, probe: Probe, index: int, event: Event) -> bool:
        if probe.condition < 0:
            return True
        condition = self._compiler.condition(probe.condition)
        try:
            return bool(condition(Frame(self._context(probe, index, event), [])))
        except RuntimeFault as fault:
            self._count_error(fault, probe)
            return False

    def _run_session_probes(self, kind: str, phase: Phase) -> None:
        """Run the probes of one kind in order while the session is in ``phase``."""
        found = [
            (probe.attach.order, index, probe)
            for index, probe in enumerate(self.module.probes)
            if isinstance(probe.attach, SessionEvent) and probe.attach.kind == kind
        ]
        for _, index, probe in sorted(found):
            if self.state.phase is not phase:
                break
            if self._armed(probe, index, Event()):
                self._run_handler(probe, index, Event())

    def _context(self, probe: Probe, index: int, event: Event) -> Context:
        limits = self.module.limits
        return Context(
            state=self.state,
            probe=probe,
            probe_index=index,
            event=event,
            task=event.task or self.state.environment.task,
            actions_left=limits.maxaction if limits.time_limits else _UNLIMITED,
        )

    def _run_handler(self, probe: Probe, index: int, event: Event) -> None:
        context = self._context(probe, index, event)
        timing = self.module.limits.timing
        if timing == "hits":
            self._runs[index].append(0)
            return
        skipped = self.state.skipped
        begun = perf_counter_ns()
        self._run(context, probe)
        if timing and skipped == self.state.skipped:
            self._runs[index].append(perf_counter_ns() - begun)

    def _run(self, context: Context, probe: Probe) -> None:
        try:
            self._compiler.handler(probe.handler).run(context)
        except RuntimeFault as fault:
            self._count_error(fault, probe)
        except Aborted:
            pass  # abort() has set the phase; what the handler printed stays
        except Skipped:
            self._count_skip()

    def _count_error(self, fault: RuntimeFault, probe: Probe) -> None:
        state, limits = self.state, self.module.limits
        if limits.suppress_handler_errors:
            state.suppressed += 1
            return
        state.errors += 1
        state.messages.append(runtime_error(fault, probe, self.module.positions))
        if state.errors > limits.maxerrors:
            state.phase = Phase.ERROR

    def _count_skip(self) -> None:
        state = self.state
        state.skipped += 1
        if state.skipped > self.module.limits.maxskipped and state.phase is not Phase.ERROR:
            state.messages.append(f"ERROR: {errors.SKIPPED_TOO_MANY}")
            state.phase = Phase.ERROR


def _final(value: Any) -> Any:
    if isinstance(value, Array):
        return {key: _final(element) for key, element in value.elements.items()}
    return value.merged() if isinstance(value, PerCpuAggregate) else value


__all__ = ["Aggregate", "Interpreter", "Result"]
