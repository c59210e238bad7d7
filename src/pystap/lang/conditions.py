"""The comparisons of ``%( LEFT OP RIGHT %? ... %)``."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable

from pystap.lang.environment import Environment
from pystap.lang.errors import parse_error
from pystap.lang.numbers import number_value
from pystap.lang.tokens import Token
from pystap.typing import Any, Final

_COMPARE: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
    "==": operator.eq,
    "!=": operator.ne,
}
_EXPECTED: Final = (
    "expected 'arch', 'kernel_v', 'kernel_vr', 'systemtap_v',\n"
    "             'runtime', 'systemtap_privilege', 'CONFIG_...', or\n"
    "             comparison between strings or integers"
)
_WILDCARD: Final = re.compile(r"[*?\[]")


def evaluate(left: Token, op: Token, right: Token, env: Environment) -> bool:
    """Whether one comparison holds.

    Raises DiagnosticError when the operands do not fit each other or the operator.
    """
    name = left.text if left.kind == "identifier" else ""
    if name in ("kernel_v", "kernel_vr", "systemtap_v"):
        return _version(_version_text(name, env), op, right)
    if name == "systemtap_privilege":
        return _equality(op) == (env.privilege == _string(right))
    if name == "guru_mode":
        return _guru(op, right, env)
    if name == "arch":
        return _equality(op) == wildcard_match(_string(right), env.arch)
    if name == "runtime":
        return _equality(op) == wildcard_match(_string(right), env.runtime)
    if name.startswith("CONFIG_") and right.kind in ("string", "number", "identifier"):
        return _config(left, op, right, env)
    if left.kind == "string":
        compare = _comparison(op)
        if right.kind != "string":
            raise parse_error("expected string literal as right value", right, saw=False)
        return compare(left.text, right.text)
    if left.kind == "number" and right.kind == "number":
        return _comparison(op)(number_value(left), number_value(right))
    raise parse_error(_EXPECTED, left, saw=False)


def _version_text(name: str, env: Environment) -> str:
    if name == "kernel_v":
        return env.kernel_base
    return env.kernel_release if name == "kernel_vr" else env.compatible


def _version(actual: str, op: Token, right: Token) -> bool:
    compare = _comparison(op)
    wanted = _string(right)
    if not _WILDCARD.search(wanted):
        return compare(version_compare(actual, wanted), 0)
    if op.text not in ("==", "!="):
        message = "wildcard not allowed with order comparison operators"
        raise parse_error(message, op, saw=False)
    return compare(wildcard_match(wanted, actual), True)


def _guru(op: Token, right: Token, env: Environment) -> bool:
    if right.kind != "number":
        raise parse_error("expected number", right, saw=False)
    wanted = number_value(right)
    if wanted not in (0, 1):
        raise parse_error("expected 0 or 1", right, saw=False)
    return _equality(op) == (bool(wanted) == env.guru)


def _config(left: Token, op: Token, right: Token, env: Environment) -> bool:
    value = env.config(left.text)
    if right.kind == "string":
        return _equality(op) == wildcard_match(right.text, value)
    compare = _comparison(op)
    if right.kind == "number":
        if not value:
            return False
        number = _integer(value)
        if number is None:
            raise parse_error("Config option value not a number", left, saw=False)
        return compare(number, number_value(right))
    if not right.text.startswith("CONFIG_"):
        message = "expected string, number literal or other CONFIG_... as right side operand"
        raise parse_error(message, right, saw=False)
    other = env.config(right.text)
    numbers = _integer(value), _integer(other)
    if None in numbers:
        return compare(value, other)
    return compare(*numbers)


def _comparison(op: Token) -> Callable[[Any, Any], bool]:
    compare = _COMPARE.get(op.text) if op.kind == "operator" else None
    if compare is None:
        raise parse_error("expected comparison operator", op, saw=False)
    return compare


def _equality(op: Token) -> bool:
    """True for ``==``, False for ``!=``."""
    if op.kind != "operator" or op.text not in ("==", "!="):
        raise parse_error("expected '==' or '!='", op, saw=False)
    return op.text == "=="


def _string(token: Token) -> str:
    if token.kind != "string":
        raise parse_error("expected string literal", token, saw=False)
    return token.text


def _integer(text: str) -> int | None:
    try:
        return int(text, 0)
    except ValueError:
        return None


def wildcard_match(pattern: str, text: str) -> bool:
    """Match as fnmatch(3) with FNM_NOESCAPE: ``*``, ``?`` and ``[...]``."""
    parts = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        at += 1
        if char == "*":
            parts.append(".*")
        elif char == "?":
            parts.append(".")
        elif (
            char == "[" and (end := pattern.find("]", at + 1 + (pattern[at : at + 1] == "!"))) > 0
        ):
            inside = pattern[at:end].replace("\\", "\\\\").replace("[", "\\[")
            parts.append(f"[{'^' + inside[1:] if inside[0] == '!' else inside}]")
            at = end + 1
        else:
            parts.append(re.escape(char))
    try:
        return re.fullmatch("".join(parts), text, re.DOTALL) is not None
    except re.error:  # a bracket with a reversed range matches nothing
        return False


def version_compare(a: str, b: str) -> int:
    """Order of two versions as strverscmp(3) has it: below, at or above zero.

    Runs of digits compare as numbers; with leading zeros as fractions, before all others.
    """
    if a == b:
        return 0
    at = 0
    while at < len(a) and at < len(b) and a[at] == b[at]:
        at += 1
    begin = at
    while begin > 0 and a[begin - 1] in "0123456789":
        begin -= 1
    run_a, run_b = _digits(a, begin), _digits(b, begin)
    if len(run_a) <= at - begin and len(run_b) <= at - begin:
        run_a = run_b = ""
    if not run_a or not run_b:
        x, y = a[at : at + 1], b[at : at + 1]
        return (x > y) - (x < y)
    key_a, key_b = _digits_key(run_a), _digits_key(run_b)
    return (key_a > key_b) - (key_a < key_b)


def _digits(text: str, begin: int) -> str:
    end = begin
    while end < len(text) and text[end] in "0123456789":
        end += 1
    return text[begin:end]


def _digits_key(run: str) -> tuple[int, int, str]:
    if run[0] == "0" and len(run) > 1:
        return 0, len(run.lstrip("0")) - len(run), run
    return 1, int(run) if len(run) < 4000 else len(run), ""
