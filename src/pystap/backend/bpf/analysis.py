"""Facts about a module that emission needs before it starts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pystap.backend.bpf.facts import X86_FUNCTION_ARGS, X86_FURTHER, X86_PT_REGS
from pystap.backend.bpf.layout import CALL_SLOTS, round_up, string_item_size
from pystap.backend.bpf.strings import dump_size
from pystap.ir import ops
from pystap.ir.types import Ty
from pystap.ir.walk import children, reachable, walk_body
from pystap.probes.attach import ProcessEvent
from pystap.typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pystap.ir.module import Function, Handler, Module
    from pystap.ir.types import Global
    from pystap.ir.walk import Node

Captured = tuple[str, int]

_ERROR_ITEM: Final = 8 + 40 + CALL_SLOTS * 4 + 8
_LOG_BUCKETS: Final = 128
_LARGE: Final = 1000  # operations of a module
_SMALL: Final = 16  # of a function
# Intrinsics that are values of the event, and the numbers that values of a kind have.
_EVENT_INTRINSICS: Final = {
    "addr": "ip", "returnval": "retval", "user_mode": "user_mode", "funcarg": "funcarg",
    "reg": "reg", "stack_frame": "stack", "user_frames": "user_stack",
    "user_frames_from": "user_stack", "user_frame": "user_stack",
}  # fmt: skip
EVENT_INDEXES: Final[dict[str, tuple[int, ...]]] = {
    "funcarg": tuple(range(len(X86_FUNCTION_ARGS))),
    "reg": (*range(len(X86_PT_REGS)), *X86_FURTHER),
}
# Those that need the task a handler is about where that may not be the current one.
_OF_TASK: Final = frozenset(("pid", "tid", "task_current", "in_target"))


class Facts:
    """What a handler or function does, itself and through the functions it calls."""

    __slots__ = (
        "actions", "callees", "captured", "fails", "iterates", "loops", "nexts", "prints",
        "samples", "size",
    )  # fmt: skip

    def __init__(self) -> None:
        self.callees: list[Function] = []
        self.captured: set[Captured] = set()
        self.actions = 0  # statements counted if everything ran once
        self.loops = False
        self.fails = False  # may end with a pending error
        self.nexts = False  # executes ``next`` (itself)
        self.prints = False  # may put something into the output
        self.samples: set[int] = set()  # aggregates samples are added to, by index
        self.iterates: set[int] = set()  # arrays iterated over, by index
        self.size = 0  # operations

    def copy(self) -> Facts:
        """Facts that can be added to."""
        other = Facts()
        other.callees = self.callees
        other.nexts = self.nexts
        other.size = self.size
        other.take_over(self)
        return other

    def take_over(self, callee: Facts) -> None:
        """Add what happens in a called function."""
        self.captured |= callee.captured
        self.actions += callee.actions
        self.loops |= callee.loops
        self.fails |= callee.fails
        self.prints |= callee.prints
        self.samples |= callee.samples
        self.iterates |= callee.iterates


class Analysis:
    """Facts by identity of the function or handler, and of the whole module."""

    def __init__(self, module: Module, *, deep: bool = False) -> None:
        self.deep = deep  # one machine runs all functions that are marked as recursive
        self._facts: dict[int, Facts] = {}
        self._own_facts: dict[int, Facts] = {}
        self._module = module
        # Whether there are handlers about a task that is not the current one.
        self.other_tasks = any(
            isinstance(p.attach, ProcessEvent) and p.attach.edge.endswith("begin")
            for p in module.probes
        )
        self._actions: dict[int, int] = {}
        self._expansions: dict[int, int] = {}
        self.calls: dict[int, int] = {}  # id of a function: number of call sites
        self.max_string = round_up(module.limits.maxstringlen)
        self.largest_item = _ERROR_ITEM + string_item_size(self.max_string) + 8
        bodies: list[Handler | Function] = [*module.handlers, *module.functions]
        # What is inlined into a handler for speed takes long to translate where there is much.
        self.large = sum(self.facts(body).size for body in bodies) > _LARGE

    def facts(self, body: Handler | Function) -> Facts:
        """Facts of a handler or function, computed at first use."""
        found = self._facts.get(id(body))
        if found is None:
            found = self._facts[id(body)] = self._own(body)
            for function in reachable(body.body):
                found.take_over(self._own(function))
        return found

    def _own(self, body: Handler | Function) -> Facts:
        """Facts without those of called functions; a copy that may be added to."""
        own = self._own_facts.get(id(body))
        if own is None:
            own = self._own_facts[id(body)] = Facts()
            self._collect(own, body.body)
        return own.copy()

    def group(self, function: Function) -> list[Function]:
        """The functions that a recursive one is mutually recursive with, itself included."""
        if self.deep:
            return [other for other in self._module.functions if other.recursive]
        return [
            other
            for other in self._module.functions
            if other.recursive
            and other in reachable(function.body)
            and function in reachable(other.body)
        ]

    def counts_actions(self, body: Handler | Function) -> bool:
        """Whether the limit of statements can be reached and must be watched at run time."""
        limits = self._module.limits
        facts = self.facts(body)
        if not limits.time_limits:
            return False
        return facts.loops or self._all_actions(body) > limits.maxaction

    def _all_actions(self, body: Handler | Function) -> int:
        """Statements counted if everything ran once, functions once for each of their calls."""
        found = self._actions.get(id(body))
        if found is None:
            self._actions[id(body)] = 0  # met again: it recurses, which counts as a loop
            found = self._own(body).actions
            for node in walk_body(body.body):
                if isinstance(node, ops.Call):
                    found += sum(self._all_actions(target) for target in node.targets)
            self._actions[id(body)] = found
        return found

    def inlines(self, function: Function) -> bool:
        """Whether a function becomes part of its callers."""
        if self.calls.get(id(function), 0) <= 1:
            return True
        return not self.facts(function).loops and self._expanded(function) <= _SMALL

    def _expanded(self, function: Function) -> int:
        """Operations of a function with those of what is inlined into it."""
        found = self._expansions.get(id(function))
        if found is None:
            self._expansions[id(function)] = _SMALL + 1  # met again: it recurses
            found = self.facts(function).size
            for node in walk_body(function.body):
                if isinstance(node, ops.Call):
                    inner = [t for t in node.targets if self.inlines(t)]
                    found += sum(self._expanded(target) for target in inner)
            self._expansions[id(function)] = found
        return found

    def stat_levels(self, var: Global) -> set[int]:
        """Context levels of the probes whose handlers add samples to an aggregate."""
        return self._levels(lambda facts: var.index in facts.samples)

    def foreach_levels(self, var: Global) -> set[int]:
        """Context levels of the probes whose handlers iterate over an array."""
        return self._levels(lambda facts: var.index in facts.iterates)

    def foreach_nesting(self, var: Global) -> int:
        """How many foreach statements over an array can be inside one another, through calls
        too; each function counts once."""
        known: dict[int, int] = {}

        def through(body: Handler | Function) -> int:
            if var.index not in self.facts(body).iterates:
                return 0
            if id(body) not in known:
                known[id(body)] = 0  # met again: it recurses
                known[id(body)] = deepest(body.body)
            return known[id(body)]

        def deepest(nodes: Sequence[Node]) -> int:
            most = 0
            for node in nodes:
                inside = deepest(children(node))
                if isinstance(node, ops.Foreach) and node.var is var:
                    inside += 1
                elif isinstance(node, ops.Call):
                    inside = max(inside, *(through(target) for target in node.targets))
                most = max(most, inside)
            return most

        return max((through(handler) for handler in self._module.handlers), default=0)

    def foreach_recurses(self, var: Global) -> bool:
        """Whether a recursive function iterates over an array."""
        return any(
            f.recursive and var.index in self._own(f).iterates for f in self._module.functions
        )

    def _levels(self, test: Callable[[Facts], bool]) -> set[int]:
        from pystap.backend.bpf.levels import level_of

        handlers = self._module.handlers
        return {
            level_of(probe.attach)
            for probe in self._module.probes
            if test(self.facts(handlers[probe.handler]))
        }

    def _collect(self, facts: Facts, body: list[ops.Stmt]) -> None:
        for node in walk_body(body):
            facts.size += 1
            match node:
                case ops.Call(targets):
                    for target in targets:
                        self.calls[id(target)] = self.calls.get(id(target), 0) + 1
                        if target not in facts.callees:
                            facts.callees.append(target)
                        facts.loops |= target.recursive
                    facts.fails |= len(targets) > 1 or node.pos >= 0
                case ops.ContextValue(kind, index):
                    facts.captured.add((kind, index))
                case ops.Loop() | ops.ForeachHist():
                    facts.loops = facts.fails = True
                case ops.Foreach(var):
                    facts.loops = facts.fails = True
                    facts.iterates.add(var.index)
                case ops.Next():
                    facts.nexts = True
                case ops.Action(count):
                    facts.actions += count
                    facts.fails = True
                case ops.StatAdd(var):
                    facts.samples.add(var.index)
                case ops.Emit(_, args):
                    facts.prints = True
                    self._note_item(args)
                case ops.EmitHist():
                    facts.prints = True
                    self.largest_item = max(self.largest_item, 16 + 8 * _LOG_BUCKETS)
                case ops.Intrinsic():
                    self._note_intrinsic(facts, node)
            facts.fails |= getattr(node, "pos", -1) >= 0

    def _note_item(self, args: list[ops.Expr]) -> None:
        size = 8
        for arg in args:
            if ops.type_of(arg) is Ty.STR:
                size += string_item_size(max(self.max_string, dump_size(arg)))
            else:
                size += 8
        self.largest_item = max(self.largest_item, size)

    def _note_intrinsic(self, facts: Facts, e: ops.Intrinsic) -> None:
        from pystap.ir.intrinsics import INTRINSICS

        info = INTRINSICS[e.name]
        facts.fails |= info.fallible
        facts.prints |= e.name in ("warn", "exit", "abort", "system")
        kind = _EVENT_INTRINSICS.get(e.name)
        if self.other_tasks and e.name in _OF_TASK:
            kind = "task"
        if kind is None:
            return
        indexes: tuple[int, ...] = (0,)
        if kind in EVENT_INDEXES:
            number = e.args[0]
            every = EVENT_INDEXES[kind]
            indexes = (number.value,) if isinstance(number, ops.Const) else every
        facts.captured |= {(kind, i) for i in indexes}
