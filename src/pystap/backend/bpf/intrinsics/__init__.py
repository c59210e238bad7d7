"""The intrinsics, one topic a file; a topic is imported when a program uses one of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pystap.backend.bpf import emit
from pystap.backend.bpf.facts import CompileError
from pystap.ir import ops

if TYPE_CHECKING:
    from pystap.backend.bpf.scope import Scope
    from pystap.backend.bpf.strings import Room
    from pystap.backend.llvm.builder import Value

LONG: Final[dict[str, Callable[[Scope, ops.Intrinsic], Value]]] = {}
STRING: Final[dict[str, Callable[[Scope, ops.Intrinsic, Room], None]]] = {}
VOID: Final[dict[str, Callable[[Scope, ops.Intrinsic], None]]] = {}

_TOPICS: Final = {
    "tables": "table_str table_num flags_str",
    "text_numbers": "isdigit strtol byte_str",
    "text_quote": "text_str text_strn kernel_string_quoted user_string_quoted",
    "text_replace": "str_replace",
    "text_search": "strlen substr stringat isinstr strpos",
    "tokenizing": "tokenize tokenize_next",
}

_F = TypeVar("_F", bound=Callable[..., Any])


def long(*names: str) -> Callable[[_F], _F]:
    """Register the emitter of intrinsics that give a long."""
    return _register(LONG, names)


def string(*names: str) -> Callable[[_F], _F]:
    """Register the emitter of intrinsics that write a string."""
    return _register(STRING, names)


def void(*names: str) -> Callable[[_F], _F]:
    """Register the emitter of intrinsics without a value."""
    return _register(VOID, names)


def _register(table: dict[str, Any], names: tuple[str, ...]) -> Callable[[_F], _F]:
    def register(emitter: _F) -> _F:
        for name in names:
            table[name] = emitter
        return emitter

    return register


def _load(name: str) -> None:
    """Import the topic of an intrinsic.  Raises CompileError when there is none."""
    from importlib import import_module

    for topic, names in _TOPICS.items():
        if name in names.split():
            import_module(f"{__name__}.{topic}")
            return
    raise CompileError(f"this runtime has no '{name}'")


@emit.emits_long(ops.Intrinsic)
def _long(s: Scope, e: ops.Intrinsic) -> Value:
    """Emit an intrinsic that gives a long, or none: then the value is 0."""
    if e.name not in LONG and e.name not in VOID:
        _load(e.name)
    if e.name in VOID:
        VOID[e.name](s, e)
        return s.b.const("i64", 0)
    return LONG[e.name](s, e)


@emit.emits_string(ops.Intrinsic)
def _string(s: Scope, e: ops.Intrinsic, room: Room) -> None:
    if e.name not in STRING:
        _load(e.name)
    STRING[e.name](s, e, room)
