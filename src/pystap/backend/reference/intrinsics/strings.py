"""Strings."""

from __future__ import annotations

from collections.abc import Callable

from pystap.backend.reference.longs import wrap
from pystap.backend.reference.state import Tokenizer
from pystap.backend.reference.text import plain, quoted
from pystap.ir import errors
from pystap.output.formats import MAX_FIELD
from pystap.typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pystap.backend.reference.state import Context
    from pystap.ir.ops import Intrinsic

_DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"


def _substr(_context: Context, _op: Intrinsic, text: str, start: int, length: int) -> str:
    if start < 0 or length < 0:
        return ""
    return text[start : start + length]


def _stringat(context: Context, op: Intrinsic, text: str, index: int) -> int:
    if not 0 <= index < context.state.module.limits.maxstringlen:
        raise context.fault(errors.STRING_INDEX, op.pos)
    return ord(text[index]) if index < len(text) else 0


def _isdigit(_context: Context, _op: Intrinsic, text: str) -> int:
    return int(text[:1] in tuple("0123456789"))


def _str_replace(_context: Context, _op: Intrinsic, text: str, old: str, new: str) -> str:
    return text.replace(old, new) if old else text


def _field_size(context: Context, op: Intrinsic, size: int, least: int) -> int:
    if not least <= size <= MAX_FIELD:
        raise context.fault(errors.FIELD_SIZE % size, op.pos)
    return size


def _strtol(_context: Context, _op: Intrinsic, text: str, base: int) -> int:
    """An optional minus sign and as many digits as there are; 0x and 0 prefixes for base 0, 0x
    also for 16.  Wraps."""
    negative = text.startswith("-")
    text = text[negative:].lower()
    if base in (0, 16) and text[:2] == "0x" and text[2:3] in tuple(_DIGITS[:16]):
        text, base = text[2:], 16
    elif base == 0:
        base = 8 if text.startswith("0") else 10
    if not 2 <= base <= len(_DIGITS):
        return 0
    value = 0
    for char in text:
        digit = _DIGITS.find(char)
        if not 0 <= digit < base:
            break
        value = wrap(value * base + digit)
    return -value if negative else value


def _tokenize(context: Context, op: Intrinsic, text: str, delimiters: str) -> str:
    if text:
        context.state.tokenizers[context.event.cpu] = Tokenizer(text)
    return _tokenize_next(context, op, delimiters)


def _tokenize_next(context: Context, _op: Intrinsic, delimiters: str) -> str:
    tokenizer = context.state.tokenizers.get(context.event.cpu)
    if tokenizer is None:
        return ""
    text = tokenizer.rest.lstrip(delimiters) if delimiters else tokenizer.rest
    end = next((i for i, char in enumerate(text) if char in delimiters), len(text))
    tokenizer.rest = text[end + 1 :]
    return text[:end]


def _text_str(context: Context, _op: Intrinsic, text: str) -> str:
    return plain(text, 0, context.state.module.limits.maxstringlen)


def _text_strn(context: Context, _op: Intrinsic, text: str, room: int, is_quoted: int) -> str:
    limit = context.state.module.limits.maxstringlen
    return quoted(text, room, limit) if is_quoted else plain(text, room, limit)


def _byte_str(_context: Context, _op: Intrinsic, byte: int) -> str:
    return chr(byte & 0xFF) if byte & 0xFF else ""


def _matched(context: Context, op: Intrinsic, group: int) -> str:
    captures = context.captures
    if captures is None:
        raise context.fault(errors.MATCH_FAILED, op.pos)
    if not 0 <= group < len(captures.groups):
        raise context.fault(errors.MATCH_GROUP % group, op.pos)
    return captures.text(group)


def _ngroups(context: Context, op: Intrinsic) -> int:
    if context.captures is None:
        raise context.fault(errors.MATCH_FAILED, op.pos)
    return len(context.captures.groups)


IMPLEMENTATIONS: Final[dict[str, Callable[..., Any]]] = {
    "strlen": lambda _context, _op, text: len(text),
    "substr": _substr,
    "stringat": _stringat,
    "isinstr": lambda _context, _op, text, part: int(part in text),
    "strpos": lambda _context, _op, text, part: text.find(part),
    "isdigit": _isdigit,
    "str_replace": _str_replace,
    "strtol": _strtol,
    "field_size": _field_size,
    "tokenize": _tokenize,
    "tokenize_next": _tokenize_next,
    "text_str": _text_str,
    "text_strn": _text_strn,
    "byte_str": _byte_str,
    "matched": _matched,
    "ngroups": _ngroups,
}
