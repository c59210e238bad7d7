"""Data classes that cost nothing to define.

The standard library's ``dataclass`` writes and compiles several methods for every class when its
module is imported: a third of a millisecond each, and a translation needs some two hundred
classes.  Here a class's ``__init__`` is made when its first instance is, and comparison and text
form are shared functions.  Type checkers see the standard decorator.
"""

from __future__ import annotations

from pystap.typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import dataclass, field
else:
    _MISSING = object()

    class Field:
        """What is known of one field; ``type`` is the annotation's text."""

        __slots__ = ("default", "default_factory", "name", "type")

        def __init__(self, default: Any = _MISSING, default_factory: Any = _MISSING) -> None:
            self.name = ""
            self.type = ""
            self.default = default
            self.default_factory = default_factory

    def field(*, default: Any = _MISSING, default_factory: Any = _MISSING) -> Any:
        """A field with a default made by ``default_factory`` for each instance."""
        return Field(default, default_factory)

    def dataclass(*, slots: bool, kw_only: bool = False, eq: bool = True) -> Any:
        """As ``dataclasses.dataclass(slots=True, ...)`` for classes with plain fields.

        Slots are checked by type checkers only: to have them a class must be made twice.
        """
        assert slots

        def make(cls: type) -> type:
            return _make(cls, kw_only, eq)

        return make

    def _make(cls: type, kw_only: bool, eq: bool) -> type:
        own = _own_fields(cls)
        fields: dict[str, Field] = {}
        for base in reversed(cls.__mro__[1:]):
            fields.update(base.__dict__.get("__dataclass_fields__", {}))
        fields.update(own)
        for name, entry in own.items():
            if entry.default is not _MISSING or entry.default_factory is not _MISSING:
                delattr(cls, name)
        cls.__dataclass_fields__ = fields
        cls.__match_args__ = () if kw_only else tuple(fields)
        if "__repr__" not in cls.__dict__:
            cls.__repr__ = _repr
        if eq and "__eq__" not in cls.__dict__:
            cls.__eq__ = _eq
            cls.__hash__ = None
        cls.__init__ = _late_init(cls, fields, kw_only)
        return cls

    def _own_fields(cls: type) -> dict[str, Field]:
        found = {}
        for name, text in vars(cls).get("__annotations__", {}).items():
            default = cls.__dict__.get(name, _MISSING)
            entry = default if isinstance(default, Field) else Field(default)
            entry.name, entry.type = name, text
            found[name] = entry
        return found

    def _late_init(cls: type, fields: dict[str, Field], kw_only: bool) -> Any:
        """A stand-in that puts the real ``__init__`` in its place when it is first called."""

        def init(self: Any, *args: Any, **kwargs: Any) -> None:
            made = cls.__init__ = _make_init(fields, kw_only)
            made(self, *args, **kwargs)

        return init

    def _make_init(fields: dict[str, Field], kw_only: bool) -> Any:
        names: dict[str, Any] = {"_missing": _MISSING}
        params, lines = ["self", *(["*"] if kw_only and fields else [])], []
        for name, entry in fields.items():
            if entry.default_factory is not _MISSING:
                names[f"_make_{name}"] = entry.default_factory
                params.append(f"{name}=_missing")
                lines.append(f" self.{name} = _make_{name}() if {name} is _missing else {name}")
                continue
            if entry.default is not _MISSING:
                names[f"_default_{name}"] = entry.default
                params.append(f"{name}=_default_{name}")
            else:
                params.append(name)
            lines.append(f" self.{name} = {name}")
        source = f"def __init__({', '.join(params)}):\n" + ("\n".join(lines) or " pass")
        exec(source, names)
        return names["__init__"]

    def _repr(self: Any) -> str:
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__dataclass_fields__)
        return f"{type(self).__qualname__}({shown})"

    def _eq(self: Any, other: object) -> Any:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return all(getattr(self, n) == getattr(other, n) for n in self.__dataclass_fields__)


__all__ = ["dataclass", "field"]
