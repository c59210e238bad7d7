"""Tables of the grammar that parser, preprocessor and printer share."""

from __future__ import annotations

from pystap.lang.environment import Environment
from pystap.typing import Final

# Binary operators and how tightly they bind; comparisons and ``in`` have rules of their own.
OR, AND, BITOR, XOR, BITAND, IN, COMPARE, SHIFT, CONCAT, ADD, MULTIPLY, UNARY = range(1, 13)

BINARY: Final = {
    "||": OR,
    "&&": AND,
    "|": BITOR,
    "^": XOR,
    "&": BITAND,
    "in": IN,
    "<": COMPARE,
    ">": COMPARE,
    "<=": COMPARE,
    ">=": COMPARE,
    "==": COMPARE,
    "!=": COMPARE,
    "=~": COMPARE,
    "!~": COMPARE,
    "<<": SHIFT,
    ">>": SHIFT,
    ">>>": SHIFT,
    ".": CONCAT,
    "+": ADD,
    "-": ADD,
    "*": MULTIPLY,
    "/": MULTIPLY,
    "%": MULTIPLY,
}
ASSIGNMENT: Final = frozenset(
    ("=", "<<<", "+=", "-=", "*=", "/=", "%=", "<<=", ">>=", "&=", "^=", "|=", ".=")
)
PREFIX: Final = frozenset("+-!~")
TYPE_NAMES: Final = ("string", "long")  # keywords that may name a function
PRINT_FAMILY: Final = frozenset(
    [
        "print",
        "println",
        "printd",
        "printdln",
        "printf",
        "sprint",
        "sprintln",
        "sprintd",
        "sprintdln",
        "sprintf",
        "print_char",
    ]
)
STAT_OPERATORS: Final = frozenset(("@count", "@sum", "@min", "@max", "@avg", "@variance"))
HISTOGRAMS: Final = frozenset(("@hist_log", "@hist_linear"))

# Built-in @-words with the language version that brought them.
_BUILTIN: Final = {
    "cast": (0, 0),
    "defined": (0, 0),
    "probewrite": (0, 0),
    "entry": (0, 0),
    "perf": (0, 0),
    "var": (0, 0),
    "avg": (0, 0),
    "count": (0, 0),
    "sum": (0, 0),
    "min": (0, 0),
    "max": (0, 0),
    "hist_linear": (0, 0),
    "hist_log": (0, 0),
    "const": (3, 1),
    "variance": (3, 1),
    "kregister": (4, 0),
    "uregister": (4, 0),
    "kderef": (4, 0),
    "uderef": (4, 0),
    "enum": (5, 5),
    "enumname": (5, 6),
}


def builtin_operators(env: Environment) -> frozenset[str]:
    """Names (without ``@``) of the operators the language has in this version."""
    return frozenset(name for name, since in _BUILTIN.items() if env.version >= since)
