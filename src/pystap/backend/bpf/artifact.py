"""What pass 4 leaves for the session: plain data, loadable without LLVM and fast to unpickle.

The session creates the maps, patches their file descriptors into the programs, loads and attaches
them.  Everything that depends on the kernel (BTF ids, offsets) is baked in: the cache key holds
the kernel build.
"""

from __future__ import annotations

from pystap.ir.probe import Position, Probe
from pystap.output.formats import Format
from pystap.typing import Final, NamedTuple

# Words (u64) of the "control" map: one mmap-able array value shared by programs and session.
CONTROL_STATE: Final = 0  # one of STATE_*
CONTROL_ERRORS: Final = 1  # run-time errors so far
CONTROL_TARGET: Final = 2  # target()
CONTROL_REALTIME: Final = 3  # CLOCK_REALTIME - CLOCK_MONOTONIC in ns, kept by the session
CONTROL_GMTOFF: Final = 4  # seconds west of UTC
CONTROL_STP_PID: Final = 5  # pid of the session
CONTROL_HZ: Final = 6
CONTROL_CYCLES_PER_US: Final = 7  # scale for get_cycles where no counter can be read
CONTROL_LOST: Final = 8  # records the ring buffer had no room for
CONTROL_HELD: Final = 11  # 1 when target() is the command of -c, which is held at first
CONTROL_UNWATCHED: Final = 12  # processes and threads there was no room to watch
CONTROL_UNKNOWN_OBJECTS: Final = 13  # files without a table that user stacks led through
CONTROL_TZ_NAME: Final = 16  # name of the time zone: NUL-terminated text over CONTROL_NAME_WORDS
CONTROL_MODULE_NAME: Final = 24  # module_name(), likewise
CONTROL_NAME_WORDS: Final = 8
CONTROL_WORDS: Final = 512

STATE_STARTING: Final = 0
STATE_RUNNING: Final = 1
STATE_STOPPING: Final = 2  # exit() was called or the session is ending: ordinary probes are off
STATE_ERROR: Final = 3  # more than MAXERRORS errors

# Words of one context (per cpu and level) in the "context" map that the session reads.
CONTEXT_BUSY: Final = 0
CONTEXT_SKIP_REENTRANT: Final = 1
CONTEXT_SKIP_LOCK: Final = 2
CONTEXT_ERRORS: Final = 3  # errors with suppressed messages included
# Context levels: an event of one level can interrupt a handler of another without a skip.
LEVEL_EVENT: Final = 0
LEVEL_IRQ: Final = 1  # timers and perf events
LEVEL_SESSION: Final = 2  # begin, end, error and slow timers, run by the session
LEVELS: Final = 3
LEVEL_NONE: Final = 3  # in records only: of a handler that runs without context

# The "locks" map: one array value with LOCK_STRIDE bytes for each of Artifact.locks.
LOCK_STRIDE: Final = 64
LOCK_STATE: Final = 0  # word: 0 free, > 0 readers, < 0 updaters, the least number: a writer
LOCK_SKIPPED: Final = 1  # word: handlers skipped because it could not be had
LOCK_CONTENDED: Final = 2  # word: how often it was not free at once, counted for the report only

# The "hits" map: for each probe and CPU, words of the report.  All times are in nanoseconds.
HITS_COUNT: Final = 0
HITS_SUM: Final = 1
HITS_MIN: Final = 2  # complement
HITS_MAX: Final = 3
HITS_MEAN: Final = 4
HITS_M2: Final = 5  # sum of squared deviations
HITS_WORDS: Final = 6


# The "file" map: the length of the text that goes to or comes from a file, then the text.
FILE_LENGTH: Final = 0
FILE_TEXT: Final = 8


class MapSpec(NamedTuple):
    """A map to create.

    ``role`` is "control", "context", "output" (the ring buffer), "rodata", "locks", "hits" (of
    each probe, for the report), "file" (the text of a file being read or written) or
    "global:NAME"; ``content`` fills element 0; a ``max_entries`` of 0 on "context" stands for
    cpus x LEVELS and on "output" for the buffer size the session chooses.
    """

    name: str
    role: str
    type: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int = 0
    content: bytes = b""
    frozen: bool = False


class ProgramSpec(NamedTuple):
    """A program to load.

    ``fixups`` are (instruction index, map index): the session writes the map's fd there.
    ``attach`` is one of "session" (run by BPF_PROG_TEST_RUN), "timer" (perf clock on one cpu),
    "profile", "perf", "tp_btf", "raw_tp", "uprobe", "identify" (run by the session for each file
    it has a table of), "uretprobe", "iterator" (run once over all
    that the kernel iterates over, when everything else is attached); ``target`` names the
    tracepoint; ``probes`` are the indexes (Artifact.probes) it serves.  A program of attach
    "session" serves one probe; "uprobe" programs serve many, told apart by the attach cookie
    (the probe index).
    """

    name: str
    type: int
    expected_attach: int
    insns: bytes
    fixups: tuple[tuple[int, int], ...]
    btf: bytes
    func_info: bytes
    attach: str
    target: str
    attach_btf_id: int
    sleepable: bool
    probes: tuple[int, ...]
    attach_btf_module: str = ""


class GlobalInfo(NamedTuple):
    """Where the session finds a global, for ``-G`` and tests that read final values.

    Scalars live in the map with role "globals" at ``offset``; arrays have a map of their own.
    """

    name: str
    kind: str  # "scalar" | "array"
    type: str  # "long" | "string" | "stats"
    keys: tuple[str, ...]
    map: int
    offset: int
    size: int


class Artifact(NamedTuple):
    """A translated program for the eBPF runtime."""

    maps: tuple[MapSpec, ...]
    programs: tuple[ProgramSpec, ...]
    probes: tuple[Probe, ...]
    formats: tuple[Format, ...]
    positions: tuple[Position, ...]
    messages: tuple[str, ...]
    globals: tuple[GlobalInfo, ...]
    maxerrors: int
    maxskipped: int
    suppress_handler_errors: bool
    locks: tuple[str, ...] = ()  # names of the globals that have one, by slot
    hist_width: int = 50  # of printed histograms: longest bar
    hist_elision: int = 2  # zero rows kept beside others, -1 for all
    interruptible: bool = True  # hits skipped for reentrancy do not count against maxskipped
    timing: str = ""  # the report at the end, see Limits
    force_tty: bool = False  # it goes to standard output whatever that is
    maxmemory: int = 0  # kB of all maps, 0 without limit
    maxstringlen: int = 512
    user_parts: tuple[str, ...] = ()  # what tables of programs are to tell: "stacks", "names",
    # "places" (files, lines and inlined functions)
    notes: tuple[str, ...] = ()  # how probes are attached and why so, for -v
