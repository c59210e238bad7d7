"""Rust's symbol names of version 0 (RFC 2603) as paths: ``_RNvCs1_4main3run`` is ``main::run``.

Hashes of crates and the types of constants are left out, as in Rust's own back traces.
"""

from __future__ import annotations

from pystap.typing import Final

_BASIC: Final = {
    "a": "i8", "b": "bool", "c": "char", "d": "f64", "e": "str", "f": "f32", "h": "u8",
    "i": "isize", "j": "usize", "l": "i32", "m": "u32", "n": "i128", "o": "u128", "s": "i16",
    "t": "u16", "u": "()", "v": "...", "x": "i64", "y": "u64", "z": "!", "p": "_",
}  # fmt: skip
_DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_DEEPEST: Final = 200
_MOST_PARTS: Final = 2000


class _Damaged(Exception):  # noqa: N818 - not a name of this form
    pass


def demangle_rust(name: str) -> str | None:
    """The path of a name, None if it is not of this form."""
    stem, dot, suffix = name.partition(".")
    try:
        text = _Parser(stem[2:]).whole()
    except (_Damaged, IndexError, ValueError):
        return None
    return text + (f" [clone .{suffix}]" if dot else "")


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0
        self._parts = 0
        self._lifetimes = 0

    def whole(self) -> str:
        if self._text[self._at].isdigit():
            raise _Damaged  # an encoding of the future
        return self._path(values=True)

    def _enter(self) -> None:
        """Begin something that may have others inside; references make names of any length."""
        self._depth += 1
        self._parts += 1
        if self._depth > _DEEPEST or self._parts > _MOST_PARTS:
            raise _Damaged

    def _next(self) -> str:
        self._at += 1
        return self._text[self._at - 1]

    def _has(self, letter: str) -> bool:
        if self._text[self._at : self._at + 1] != letter:
            return False
        self._at += 1
        return True

    def _number(self) -> int:
        """A base-62 number: ``_`` is 0, ``0_`` is 1."""
        if self._has("_"):
            return 0
        value = 0
        while not self._has("_"):
            value = value * 62 + _DIGITS.index(self._next())
        return value + 1

    def _skip_disambiguator(self) -> int:
        return self._number() + 1 if self._has("s") else 0

    def _identifier(self) -> str:
        punycode = self._has("u")
        begin = self._at
        if not self._has("0"):
            while self._text[self._at].isdigit():
                self._at += 1
        size = int(self._text[begin : self._at])
        self._has("_")
        text = self._text[self._at : self._at + size]
        if len(text) != size:
            raise _Damaged
        self._at += size
        if not punycode:
            return text
        plain, _, rest = text.rpartition("_")
        joined = f"{plain}-{rest}" if plain else rest
        return joined.encode("ascii").decode("punycode").encode("utf-8").decode("latin-1")

    def _path(self, values: bool) -> str:
        self._enter()
        try:
            return self._path_of(self._next(), values)
        finally:
            self._depth -= 1

    def _path_of(self, kind: str, values: bool) -> str:
        if kind == "C":
            self._skip_disambiguator()
            return self._identifier()
        if kind in "MX":
            self._skip_disambiguator()
            self._path(values=False)  # where the implementation is
            own = self._type()
            return f"<{own} as {self._path(values=False)}>" if kind == "X" else f"<{own}>"
        if kind == "Y":
            own = self._type()
            return f"<{own} as {self._path(values=False)}>"
        if kind == "N":
            return self._nested(values)
        if kind == "I":
            stem = self._path(values)
            arguments = self._list(self._argument)
            return f"{stem}{'::' if values else ''}<{arguments}>"
        if kind == "B":
            return self._again(lambda: self._path(values))
        raise _Damaged

    def _nested(self, values: bool) -> str:
        space = self._next()
        outer = self._path(values)
        number = self._skip_disambiguator()
        name = self._identifier()
        if not space.isupper():
            return f"{outer}::{name}" if name else outer
        word = {"C": "closure", "S": "shim"}.get(space, space)
        return f"{outer}::{{{word}{':' + name if name else ''}#{number}}}"

    def _list(self, item: object) -> str:
        assert callable(item)
        found = []
        while not self._has("E"):
            found.append(item())
        return ", ".join(found)

    def _argument(self) -> str:
        if self._has("L"):
            return self._lifetime(self._number())
        if self._has("K"):
            return self._constant()
        return self._type()

    def _lifetime(self, index: int) -> str:
        if index == 0:
            return "'_"
        depth = self._lifetimes - index
        return f"'{chr(97 + depth)}" if 0 <= depth < 26 else f"'_{depth}"

    def _again(self, parse: object) -> str:
        """What stands at an earlier place."""
        assert callable(parse)
        here = self._at - 1
        place = self._number()
        if place >= here:
            raise _Damaged
        back, self._at = self._at, place
        try:
            text: str = parse()
        finally:
            self._at = back
        return text

    def _type(self) -> str:
        self._enter()
        try:
            return self._type_of(self._next())
        finally:
            self._depth -= 1

    def _type_of(self, kind: str) -> str:
        if kind in _BASIC:
            return _BASIC[kind]
        if kind in "RQ":
            lifetime = f"{self._lifetime(self._number())} " if self._has("L") else ""
            lifetime = "" if lifetime == "'_ " else lifetime
            return f"&{lifetime}{'mut ' if kind == 'Q' else ''}{self._type()}"
        if kind in "PO":
            return f"*{'mut' if kind == 'O' else 'const'} {self._type()}"
        if kind == "A":
            element = self._type()
            return f"[{element}; {self._constant()}]"
        if kind == "S":
            return f"[{self._type()}]"
        if kind == "T":
            inner = self._list(self._type)
            single = inner and ", " not in inner
            return f"({inner}{',' if single else ''})"
        if kind == "F":
            return self._function()
        if kind == "D":
            return self._dynamic()
        if kind == "B":
            return self._again(self._type)
        self._at -= 1
        return self._path(values=False)

    def _function(self) -> str:
        outer = self._lifetimes
        if self._has("G"):
            self._lifetimes += self._number() + 1
        words = "unsafe " if self._has("U") else ""
        if self._has("K"):
            abi = "C" if self._has("C") else self._identifier().replace("_", "-")
            words += f'extern "{abi}" '
        inner = self._list(self._type)
        result = self._type()
        self._lifetimes = outer
        return f"{words}fn({inner})" + (f" -> {result}" if result != "()" else "")

    def _dynamic(self) -> str:
        outer = self._lifetimes
        if self._has("G"):
            self._lifetimes += self._number() + 1
        traits = []
        while not self._has("E"):
            trait = self._path(values=False)
            bindings = []
            while self._has("p"):
                name = self._identifier()
                bindings.append(f"{name} = {self._type()}")
            if bindings:
                joined = ", ".join(bindings)
                trait = f"{trait[:-1]}, {joined}>" if trait.endswith(">") else f"{trait}<{joined}>"
            traits.append(trait)
        self._lifetimes = outer
        if self._has("L"):
            lifetime = self._lifetime(self._number())
            if lifetime != "'_":
                traits.append(lifetime)
        return "dyn " + " + ".join(traits)

    def _constant(self) -> str:
        kind = self._next()
        if kind == "B":
            return self._again(self._constant)
        if kind == "p":
            return "_"
        minus = "-" if self._has("n") else ""
        begin = self._at
        while self._next() != "_":
            pass
        value = int(self._text[begin : self._at - 1] or "0", 16)
        if kind == "b":
            return "true" if value else "false"
        if kind == "c":
            return repr(chr(value))
        return f"{minus}{value}"
