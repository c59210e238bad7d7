"""The names of the standard ``typing`` that cost nothing at run time.

``typing`` takes four milliseconds to import and a third of one for each ``NamedTuple``; a start
of ``stap`` is measured in tens.  Annotations are never evaluated here (every module has them as
text), so a type checker's names need only exist.  Type checkers see the standard module.
"""

from __future__ import annotations

TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import (
        Any,
        Final,
        Literal,
        NamedTuple,
        NoReturn,
        Protocol,
        Self,
        TypeAlias,
        TypeVar,
        Union,
        cast,
        dataclass_transform,
    )
else:
    from _collections import _tuplegetter

    class _Name:
        """Stands for a name that only type checkers read."""

        def __getitem__(self, item: object) -> _Name:
            return self

        def __or__(self, other: object) -> _Name:
            return self

        __ror__ = __or__

    Any = Final = Literal = NoReturn = Self = TypeAlias = Union = _Name()

    class Protocol:
        """A base class that adds nothing."""

        __slots__ = ()

    def TypeVar(name: str, *constraints: object, bound: object = None) -> _Name:  # noqa: N802
        """A type checker's variable."""
        return _Name()

    def cast(kind: object, value: object) -> object:
        """The value."""
        return value

    def dataclass_transform(**kwargs: object) -> object:
        """A decorator that adds nothing."""
        return lambda function: function

    class _NamedTupleType(type):
        """Makes the classes: a tuple whose ``__new__`` is written when it is first called."""

        def __new__(meta, name: str, bases: tuple[type, ...], body: dict[str, object]) -> type:
            fields = tuple(body.get("__annotations__", ()))
            defaults = {field: body.pop(field) for field in fields if field in body}
            for index, field in enumerate(fields):
                body[field] = _tuplegetter(index, "")
            body["_fields"] = body["__match_args__"] = fields
            body["_field_defaults"] = defaults
            body.setdefault("__repr__", _repr)
            body.setdefault("__slots__", ())
            body.setdefault("_replace", _replace)
            body.setdefault("__getnewargs__", _getnewargs)
            made = type(name, (tuple,), body)
            made.__new__ = staticmethod(_late_new(made))
            return made

    def _late_new(cls: type) -> object:
        """A stand-in that puts the real ``__new__`` in its place when it is first called."""

        def new(kind: type, *args: object, **kwargs: object) -> object:
            made = _make_new(cls._fields, cls._field_defaults)
            cls.__new__ = staticmethod(made)
            return made(kind, *args, **kwargs)

        return new

    def _make_new(fields: tuple[str, ...], defaults: dict[str, object]) -> object:
        params = ", ".join(f"{f}=_defaults[{f!r}]" if f in defaults else f for f in fields)
        values = "".join(f"{f}, " for f in fields)
        source = f"lambda _cls, {params}: _new(_cls, ({values}))"
        return eval(source, {"_new": tuple.__new__, "_defaults": defaults})

    def _repr(self: object) -> str:
        shown = ", ".join(f"{f}={v!r}" for f, v in zip(self._fields, self, strict=True))
        return f"{type(self).__name__}({shown})"

    def _getnewargs(self: object) -> tuple[object, ...]:
        """What pickling passes to ``__new__``."""
        return tuple(self)

    def _replace(self: object, **changes: object) -> object:
        """A copy with some fields changed."""
        return type(self)(**{**dict(zip(self._fields, self, strict=True)), **changes})

    NamedTuple = type.__new__(_NamedTupleType, "NamedTuple", (), {})


__all__ = [
    "TYPE_CHECKING",
    "Any",
    "Final",
    "Literal",
    "NamedTuple",
    "NoReturn",
    "Protocol",
    "Self",
    "TypeAlias",
    "TypeVar",
    "Union",
    "cast",
    "dataclass_transform",
]
