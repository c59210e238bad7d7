"""The intrinsics, one topic a file; each is a function registered under its name."""

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

_LONGS: Final[dict[str, Any]] = {}
_STRINGS: Final[dict[str, Any]] = {}

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
    if not table:
        from pystap.backend.bpf.intrinsics import (  # noqa: F401 - they register themselves
            clocks,
            effects,
            probe,
            task,
        )
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
