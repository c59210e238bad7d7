"""Everything that changes while a module is interpreted."""

from __future__ import annotations

from enum import Enum

from pystap.backend.reference.arrays import Array
from pystap.backend.reference.faults import InterpreterError, RuntimeFault
from pystap.backend.reference.stats import PerCpuAggregate
from pystap.ir.types import Global, Ty
from pystap.records import dataclass, field
from pystap.typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    from pystap.backend.reference.environment import Environment, Event, Task
    from pystap.backend.reference.regex import Captures
    from pystap.ir.module import Module, Probe

    Evaluate: TypeAlias = Callable[["Frame"], Any]


class Phase(Enum):
    """Where a session stands."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    ERROR = "error"


@dataclass(slots=True)
class Tokenizer:
    """What is left of the string of the last tokenize(input, delimiters)."""

    rest: str = ""


class State:
    """Globals, output and counters of one session."""

    def __init__(self, module: Module, environment: Environment) -> None:
        self.module = module
        self.environment = environment
        self.phase = Phase.STARTING
        self.output: list[bytes] = []
        self.messages: list[str] = []  # what goes to stderr, a line each
        self.commands: list[str] = []  # of system()
        self.signals: list[tuple[int, int]] = []  # tid and signal of raise()
        self.errors = 0
        self.suppressed = 0
        self.skipped = 0
        self.file_text = ""  # what a file's handler was handed, or makes
        self.tokenizers: dict[int, Tokenizer] = {}  # by cpu
        self.globals: dict[int, Any] = {g.index: initial(g) for g in module.globals}

    def array(self, var: Global) -> Array:
        """Storage of an array global."""
        found = self.globals[var.index]
        if not isinstance(found, Array):
            raise InterpreterError(f"global {var.name} is not an array")
        return found

    def print(self, text: bytes) -> None:
        """Append to the script's output."""
        self.output.append(text)


def initial(var: Global) -> Any:
    """Storage of a global at the start of the session."""
    if var.kind == "array":
        return Array(var)
    if var.stats is not None:
        return PerCpuAggregate(var.stats)
    return var.init or emptied(var)


def emptied(var: Global) -> Any:
    """What ``delete`` leaves of a scalar."""
    if var.stats is not None:
        return PerCpuAggregate(var.stats)
    return "" if var.value is Ty.STR else 0


@dataclass(slots=True)
class Context:
    """One run of a handler."""

    state: State
    probe: Probe
    probe_index: int
    event: Event
    task: Task
    actions_left: int
    callers: list[int] = field(default_factory=list)  # positions of active calls, outermost first
    held: dict[int, str] = field(default_factory=dict)  # lock modes by index of the global
    captures: Captures | None = None

    def fault(self, message: str, position: int) -> RuntimeFault:
        """The exception for a run-time error here."""
        return RuntimeFault(message, position, tuple(reversed(self.callers)))


class Frame:
    """Variables of one active handler or function."""

    __slots__ = ("context", "result", "variables")

    def __init__(self, context: Context, variables: list[Any]) -> None:
        self.context = context
        self.variables = variables
        self.result: Any = None
