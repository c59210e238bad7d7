"""Damaged, spliced and blown-up scripts."""

from __future__ import annotations

import random
import re

from pystap.lang.lexer import KEYWORDS

_TOKEN = re.compile(
    r'"(?:[^"\\\n]|\\.)*"|%[({?:})]|@[A-Za-z_]\w*|[$]*\w[\w$]*|<<<|>>>|<<=|>>=|->|\+\+|--|&&|\|\|'
    r"|[-+*/%&|^<>=!.]=|=~|!~|<<|>>|/\*|\*/|//|\*\*|\s+|.",
    re.DOTALL,
)
_OPERATORS = [
    *"+-*/%&|^<>=!.,;:?~()[]{}#$@\\'\"`",
    "<<<", ">>>", "<<=", ">>=", "->", "++", "--", "&&", "||", "+=", "-=", "*=", "/=", "%=",
    "&=", "|=", "^=", ".=", "==", "!=", "<=", ">=", "=~", "!~", "<<", ">>", "%(", "%)", "%?",
    "%:", "%{", "%}", "/*", "*/", "//", "**",
]  # fmt: skip
_AT_WORDS = [
    "@1", "@2", "@9", "@#", "@avg", "@cast", "@cast_sizeof", "@choose_defined", "@const",
    "@container_of", "@count", "@define", "@defined", "@entry", "@enum", "@enumname", "@errno",
    "@hist_linear", "@hist_log", "@kderef", "@kregister", "@max", "@min", "@mm", "@offsetof",
    "@perf", "@prints", "@probewrite", "@sum", "@task", "@this1", "@uderef", "@uregister", "@var",
    "@variance",
]  # fmt: skip
_VALUES = [
    "0", "1", "-1", "9223372036854775807", "9223372036854775808", "18446744073709551615",
    "18446744073709551616", "0x", "0x7fffffffffffffffff", "08", "0777", "1" * 400, "2147483648",
    '""', '"x"', '"%d"', '"%s %p"', '"*"', '"a*b?"', '"[" "("', '"\\x41\\0"', '"a{99999}"',
    '"((((((((((a*)*)*)*)*)*)*)*)*)*"', '"kernel"', '"task_struct"', "$1", "$2", "$#", "$$vars",
    "$$parms$$", "$x", "$prev->comm$", "$next$$", "pid()", "execname()", "argstr", "\0", "\xff",
    "\xc3\xa9", "%( 1 == 1 %? x %: y %)", '%( kernel_v > "3" %? 1 %)',
    "@define m(a) %( @a @m(@a) %)",
]  # fmt: skip
_POINTS = [
    "begin", "end", "error", "never", "timer.s(1)", "timer.ms(10)", "timer.profile",
    "syscall.open", "syscall.*", "process.begin", 'kernel.trace("sched_switch")',
    'kernel.trace("sched*")',
    'process("/bin/true").function("main")', "{a,b.c}.return", "timer.{s(1),ms(2)}", "*", "**",
    "oneshot", 'kernel.function("vfs_read")', "perf.sw.cpu_clock", "syscall.read.return ?",
    "begin if (x)", "begin !", 'procfs("x").read', "process.syscall", "nd_syscall.*",
]  # fmt: skip
_WORDS = sorted(KEYWORDS)
_BINARY = [
    *"+-*/%&|^<>.=", "<<<", ">>>", "<<", ">>", "&&", "||", "==", "!=", "<=", ">=", "+=", ".=",
    " in ",
]  # fmt: skip
_EXCHANGES = {"binary": _BINARY, "value": [*_VALUES, "x", "a", "s"], "@": _AT_WORDS}
_LONGEST = 200_000  # characters of one input


def mutated(texts: list[str], chance: random.Random) -> str:
    """A script made of one or more of ``texts``; the same for the same state of ``chance``."""
    return mutate(chance.choice(texts), texts, chance)


def mutate(text: str, texts: list[str], chance: random.Random) -> str:
    """``text`` with one or several changes.

    Some of the scripts only have tokens exchanged for others of their kind: these get past the
    parser.
    """
    if chance.random() < 0.01:
        text = blown_up(chance)
    tokens = _TOKEN.findall(text)
    if chance.random() < 0.3:
        others = _TOKEN.findall(chance.choice(texts))
        for _ in range(chance.randrange(1, 5)):
            _exchange(tokens, others, chance)
        return "".join(tokens)
    for _ in range(1 + int(chance.expovariate(1.0))):
        _change(tokens, texts, chance)
    return "".join(tokens)[:_LONGEST]


def _exchange(tokens: list[str], others: list[str], chance: random.Random) -> None:
    """Put another token of the same kind in place of one."""
    at = chance.randrange(len(tokens)) if tokens else 0
    kind = _kind(tokens[at]) if tokens else ""
    if not kind:
        return
    alike = [token for token in others if _kind(token) == kind]
    if kind in _EXCHANGES and (not alike or chance.random() < 0.5):
        alike = _EXCHANGES[kind]
    if alike:
        tokens[at] = chance.choice(alike)


def _kind(token: str) -> str:
    """What a token may be exchanged with; empty for those that hold the script together."""
    if token in KEYWORDS or token.isspace():
        return ""
    if token in _BINARY:
        return "binary"
    if token[0] == "@":
        return "@"
    if token[0] in '"0123456789' or token.isidentifier():
        return "value"
    return "$" if token[0] == "$" else ""


def _change(tokens: list[str], texts: list[str], chance: random.Random) -> None:
    """One change of one of many kinds."""
    at = chance.randrange(len(tokens) + 1)
    end = min(len(tokens), at + int(chance.expovariate(0.15)))
    kind = chance.randrange(14)
    if kind <= 2:
        tokens[at : at + 1] = [_any_token(chance)]
    elif kind == 3:
        tokens.insert(at, _any_token(chance))
    elif kind == 4:
        del tokens[at : at + 1]
    elif kind == 5:
        del tokens[at:end]
    elif kind == 6:
        other = chance.randrange(len(tokens) + 1)
        tokens[other:other] = tokens[at:end]
    elif kind == 7:
        tokens[at:end] = tokens[at:end] * _how_often(chance)
    elif kind == 8:
        left, right = chance.choice(_PAIRS)
        often = _how_often(chance)
        tokens[at:end] = [left * often, *tokens[at:end], right * often]
    elif kind <= 10:
        other_tokens = _TOKEN.findall(chance.choice(texts))
        start = chance.randrange(len(other_tokens) + 1)
        tokens[at:end] = other_tokens[start : start + int(chance.expovariate(0.05)) + 1]
    elif kind == 11:
        tokens[at:end] = [_noise(chance)]
    elif kind == 12 and tokens:
        other = chance.randrange(len(tokens))
        at = min(at, len(tokens) - 1)
        tokens[at], tokens[other] = tokens[other], tokens[at]
    else:
        tokens[at:end] = ["\nprobe ", chance.choice(_POINTS), " { "]


_PAIRS = [
    ("(", ")"), ("{", "}"), ("[", "]"), ("%(1==1%?", "%)"), ("if(1)", ""), ("!", ""), ("-", ""),
    ("a[", "]"), ("@defined(", ")"), ('@cast(', ',"x")->y'), ("{a,", "}"), ("{a,b}.", ""),
    ("f(", ")"), ("1?", ":2"), ("1+", ""), ("try{", "}catch{}"), ("/*", "*/"), ("@m(", ")"),
    ("foreach(x in ", ")"), ("->x", ""), ("$", "$"), ("&", ""), ("x=", ""), ('"a".', ""),
]  # fmt: skip


def _how_often(chance: random.Random) -> int:
    """Mostly a few times, at times very often."""
    return chance.choice((2, 2, 3, 4, 10, 30)) if chance.random() < 0.995 else 2000


def _any_token(chance: random.Random) -> str:
    return chance.choice(chance.choice((_OPERATORS, _AT_WORDS, _VALUES, _POINTS, _WORDS)))


def _noise(chance: random.Random) -> str:
    return "".join(chr(chance.randrange(256)) for _ in range(chance.randrange(1, 12)))


def blown_up(chance: random.Random) -> str:
    """A small script that means, or nests, very much."""
    n = chance.choice((2, 5, 12, 40, 300))
    kind = chance.randrange(7)
    if kind == 0:
        lines = [f"@define m{i + 1} %( @m{i} @m{i} %)" for i in range(n)]
        return "\n".join(["@define m0 %( x %)", *lines, f"probe begin {{ @m{n} }}"])
    if kind == 1:
        return "probe " + ".".join(["{begin,a,b}"] * n) + " { }"
    if kind == 2:
        lines = [f"probe p{i + 1} = p{i}, p{i} {{ x{i} = 1 }}" for i in range(min(n, 40))]
        return "\n".join(["probe p0 = begin { }", *lines, f"probe p{min(n, 40)} {{ }}"])
    if kind == 3:
        lines = [f"function f{i + 1}(x) {{ return f{i}(x) + f{i}(x) }}" for i in range(n)]
        head = "function f0(x) { return x }"
        return "\n".join([head, *lines, f"probe begin {{ println(f{n}(1)) }}"])
    if kind == 4:
        regex = "(a|b|" * n + "c" + ")*" * n + "{1,99}"
        return f'probe begin {{ if (execname() =~ "{regex}") println(1) }}'
    if kind == 5:
        return "".join(f"global g{i}[{i + 1}]\n" for i in range(n)) + "probe begin { g1[1] = g2 }"
    points = ",".join(f"timer.s({i + 1})" for i in range(n))
    return f"probe {points} {{ println(pp()) }}"
