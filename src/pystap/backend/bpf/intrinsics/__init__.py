"""The intrinsics, one topic a file; each is a function registered under its name."""

from __future__ import annotations

from collections.abc import Callable

from pystap.backend.bpf import emit
from pystap.backend.bpf.facts import CompileError
from pystap.ir import ops
from pystap.typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from pystap.backend.bpf.scope import Scope
    from pystap.backend.bpf.strings import Room
    from pystap.backend.llvm.builder import Value

_LONGS: Final[dict[str, Any]] = {}
_STRINGS: Final[dict[str, Any]] = {}

# Where an intrinsic is; any other is in one of the small files.
_TOPICS: Final = {
    "counters": "perf_counter",
    "files": "file_text file_set file_append",
    "stack": "stack_frame kernel_symbol kernel_symbol_data",
    "syscalls": "syscall_name syscall_argstr syscall_retstr",
    "tables": "table_str table_num flags_str",
    "text_match": "matched ngroups",
    "text_numbers": "isdigit strtol byte_str field_size",
    "text_quote": "text_str text_strn kernel_string_quoted user_string_quoted "
    "kernel_buffer_quoted user_buffer_quoted",
    "text_replace": "str_replace",
    "text_search": "strlen substr stringat isinstr strpos",
    "user_stack": "user_frames user_frames_from user_frame user_place user_number user_text "
    "user_inlined",
    "tokenizing": "tokenize tokenize_next",
}
_SMALL: Final = ("addresses", "clocks", "effects", "probe", "task")

_F = TypeVar("_F", bound=Callable[..., Any])


def long(*names: str) -> Callable[[_F], _F]:
    """Register ``(scope, operation) -> Value``, for results that are longs or nothing (then 0)."""
    return _register(_LONGS, names)


def string(*names: str) -> Callable[[_F], _F]:
    """Register ``(scope, operation, room)``, which writes its result to the room."""
    return _register(_STRINGS, names)


def _register(table: dict[str, Any], names: tuple[str, ...]) -> Callable[[_F], _F]:
    def register(emitter: _F) -> _F:
        for name in names:
            table[name] = emitter
        return emitter

    return register


def _find(table: dict[str, Any], name: str) -> Any:
    """The emitter of an intrinsic; files are imported when they are needed."""
    if name not in table:
        from importlib import import_module

        found = tuple(topic for topic, names in _TOPICS.items() if name in names.split())
        for topic in found or _SMALL:
            import_module(f"{__name__}.{topic}")
    emitter = table.get(name)
    if emitter is None:
        raise CompileError(f"the bpf runtime has no '{name}'")
    return emitter


@emit.emits_long(ops.Intrinsic)
def _long(s: Scope, e: ops.Intrinsic) -> Value:
    value: Value = _find(_LONGS, e.name)(s, e)
    return value


@emit.emits_string(ops.Intrinsic)
def _string(s: Scope, e: ops.Intrinsic, room: Room) -> None:
    _find(_STRINGS, e.name)(s, e, room)
