"""Where a probe attaches: plain data made by a probe family, used by every runtime.

These are all a runtime knows of a probe family; it never looks at probe point text.
"""

from __future__ import annotations

from pystap.typing import Final, Literal, NamedTuple, TypeAlias


class SessionEvent(NamedTuple):
    """``begin end error init never``; lower ``order`` runs first."""

    kind: Literal["begin", "end", "error", "init", "never"]
    order: int = 0


class Timer(NamedTuple):
    """Fires on one CPU every ``period_ns``, moved by up to ± ``randomize_ns``."""

    period_ns: int
    randomize_ns: int = 0


class Profile(NamedTuple):
    """Fires on every CPU ``hz`` times a second (0: at the kernel's tick rate)."""

    hz: int = 0


class PerfEvent(NamedTuple):
    """A perf event on every CPU: ``type`` and ``config`` as perf_event_open(2).

    Only samples of the program at ``path`` count, with ``target_only`` of target() and its
    descendants.  With a ``counter`` there are no samples: by this name it is read.
    """

    type: int
    config: int
    period: int = 0
    hz: int = 0
    path: str = ""
    target_only: bool = False
    counter: str = ""


#: path of the file by which handlers ask for standard input; any number of probes may have it
STANDARD_INPUT: Final = "__stdin"


class ProcFile(NamedTuple):
    """A file of the session: a read asks the handler for its text, a write hands it one.

    ``path`` is relative to the session's directory; ``maxsize`` bounds the bytes of a text that
    is read (0: a string's bound); ``umask`` takes bits away from the mode of the file.
    """

    path: str
    edge: Literal["read", "write"]
    maxsize: int = 0
    umask: int = 0


AT_LOAD: Final = 0


class Watchpoint(NamedTuple):
    """A hardware watchpoint: writes (``access`` "write"), or reads too ("rw"), of ``length`` bytes
    at ``address``, or where the kernel has ``symbol``; with ``target_only`` in target() and its
    descendants, at an address of theirs.  The length of a symbol of a kernel that does not run
    here is found when the module is loaded (``AT_LOAD``).
    """

    address: int
    length: int
    access: Literal["write", "rw"]
    symbol: str = ""
    target_only: bool = False


class LsmHook(NamedTuple):
    """A hook of the kernel's security modules."""

    name: str


class NetfilterHook(NamedTuple):
    """A place packets come by, where a handler watches only: protocol family, number of the hook
    in it (``<linux/netfilter.h>``), and order among all that is there (lower comes first)."""

    family: int
    hook: int
    priority: int


class Tracepoint(NamedTuple):
    """A kernel tracepoint, by BTF: ``arguments`` is the number of its arguments."""

    name: str
    arguments: int
    module: str = ""


class SyscallEvent(NamedTuple):
    """Entry or return of system calls by number; ``numbers`` empty means every one.

    Those of the program at ``path``, of ``pid``, with ``target_only`` of target() and its
    descendants, else of any process.  Probes of this kind that share a handler are served by one
    dispatching program.
    """

    edge: Literal["enter", "exit"]
    numbers: tuple[int, ...] = ()
    path: str = ""
    pid: int = 0
    target_only: bool = False

    @property
    def who(self) -> tuple[str, int, bool]:
        """Whose calls count."""
        return self.path, self.pid, self.target_only


class Uprobe(NamedTuple):
    """A user-space instruction: file path, offset in the file, and pid (0: any).

    With ``target_only`` it counts in target() and its descendants only.  ``body`` is the offset
    where a function's parameters are in place, when that is not at its start; ``semaphore`` that
    of a counter which tells the program that somebody listens.  With ``program`` it counts in
    processes that run the program of that path only (``path`` is a library of theirs).
    """

    path: str
    offset: int
    symbol: str
    is_return: bool
    pid: int = 0
    target_only: bool = False
    body: int = 0
    semaphore: int = 0
    program: str = ""


class ProcessEvent(NamedTuple):
    """Begin or end of processes: of the program at ``path``, of ``pid``, or any.

    With ``target_only`` of target() and its descendants.
    """

    edge: Literal["begin", "end", "thread.begin", "thread.end"]
    path: str = ""
    pid: int = 0
    target_only: bool = False


class KernelFunction(NamedTuple):
    """The entry or return of a kernel function, or an instruction ``offset`` bytes behind it.

    ``module`` is empty for the kernel itself.  ``instance`` counts functions of one name by
    address where there are several, -1 when the name is enough.  ``address`` is the one a script
    gave instead of a name (0: none); then ``symbol`` may be empty.  ``words`` are the 8-byte
    words that BTF says the arguments take, -1 when that is not known or not all are passed in
    registers; ``maxactive`` is the script's bound of outstanding returns, 0 for none.  With
    ``later`` the module was not loaded when the script was translated.  ``anchor`` is a symbol of
    the module that no other has the name of, ``apart`` how far behind it the function begins:
    they tell functions of one name apart wherever they are loaded.
    """

    symbol: str
    module: str = ""
    is_return: bool = False
    offset: int = 0
    instance: int = -1
    address: int = 0
    words: int = -1
    maxactive: int = 0
    later: bool = False
    anchor: str = ""
    apart: int = 0


Attach: TypeAlias = (
    SessionEvent
    | Timer
    | Profile
    | PerfEvent
    | ProcFile
    | Watchpoint
    | LsmHook
    | NetfilterHook
    | Tracepoint
    | SyscallEvent
    | Uprobe
    | ProcessEvent
    | KernelFunction
)


def at_entry(attach: Attach) -> Attach:
    """Where what a return probe stands at is entered; kinds without returns stay as they are."""
    if isinstance(attach, SyscallEvent):
        return attach._replace(edge="enter")
    if isinstance(attach, Uprobe):
        offset = attach.body or attach.offset
        return attach._replace(is_return=False, offset=offset, body=0)
    if isinstance(attach, KernelFunction):
        return attach._replace(is_return=False)
    return attach


_KINDS: Final[dict[type, str]] = {
    Timer: "hrtimer",
    Profile: "perf",
    PerfEvent: "perf",
    ProcFile: "procfs",
    Watchpoint: "hwbkpt",
    LsmHook: "lsm",
    NetfilterHook: "netfilter",
    Tracepoint: "tracepoint",
    SyscallEvent: "tracepoint",
    ProcessEvent: "tracepoint",
}


def place_text(attach: Attach) -> str:
    """The address of the instruction that is probed, as verbose listings show it; "" for none."""
    match attach:
        case Uprobe(offset=offset):
            return f" /* pc={offset:#x} */"
        case KernelFunction(symbol=symbol, offset=offset) if symbol:
            return f" /* pc={symbol}+{offset:#x} */"
    return ""


def kind_of(attach: Attach) -> str:
    """What probe_type() gives: how a module of the kernel would probe there."""
    match attach:
        case SessionEvent(kind):
            return kind
        case Uprobe(is_return=is_return):
            return "uretprobe" if is_return else "uprobe"
        case KernelFunction(is_return=is_return):
            return "kretprobe" if is_return else "kprobe"
    return _KINDS[type(attach)]


def of_target(attach: Attach) -> bool:
    """Whether a probe counts in target() and its descendants only."""
    match attach:
        case Uprobe() | ProcessEvent() | SyscallEvent() | PerfEvent() | Watchpoint():
            return attach.target_only
    return False


def counter_of(attach: Attach) -> str:
    """The name of the counter that a probe is there for instead of a handler; "" for none."""
    return attach.counter if isinstance(attach, PerfEvent) else ""


def pid_of(attach: Attach) -> int:
    """The process a probe counts in only, 0 for any."""
    match attach:
        case Uprobe() | ProcessEvent() | SyscallEvent():
            return attach.pid
    return 0


def files_of(attach: Attach) -> set[str]:
    """The programs and libraries that a probe is about."""
    match attach:
        case Uprobe(path=path, program=program):
            return {path, program} - {""}
        case ProcessEvent(path=path) | SyscallEvent(path=path) | PerfEvent(path=path):
            return {path} - {""}
    return set()


def is_return(attach: Attach) -> bool:
    """Whether a probe is at a return."""
    match attach:
        case Uprobe(is_return=returns) | KernelFunction(is_return=returns):
            return returns
        case SyscallEvent(edge=edge):
            return edge == "exit"
    return False
