"""Random calls of tapset functions and operators: the kernel prints what the interpreter does."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from stap import stap

ALPHABET = 'ab,; 0x19-"\\\n\t\x01\x7f\xe9'
PATTERNS = ("a+b*", "^[a-b]*$", "(a|b)(,|;)?", "[0-9]+x")
PREFIXES = ("", "-", "0x", "0X1f", "012", "-0x9", "zz", "9" * 25, "  1", "+1")


class Generator:
    """Expressions made from a fixed seed."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.choice: Callable[..., str] = self.random.choice

    def literal(self, text: str) -> str:
        """A string literal of the script language."""
        return '"' + "".join(f"\\{ord(c):03o}" if c in ALPHABET[9:] else c for c in text) + '"'

    def text(self, most: int = 12) -> str:
        """A string, rarely one about as long as strings can be."""
        if self.random.random() < 0.05:
            return self.literal("x" * self.random.choice([500, 510, 511, 512, 600]))
        size = self.random.randrange(most)
        return self.literal("".join(self.choice(ALPHABET) for _ in range(size)))

    def number(self) -> str:
        """Any long."""
        edges = [0, 1, 2, 10, -1, -5, 511, 1 << 31, (1 << 63) - 1, -(1 << 63) + 1]
        return str(self.random.choice([*edges, self.random.randrange(1 << 64) - (1 << 63)]))

    def length(self) -> str:
        """A length or index."""
        return str(self.random.choice([0, 1, 2, 3, 5, 8, 12, -1, 506, 507, 511, 600]))

    def call(self) -> str:
        """One expression."""
        text, number, length = self.text, self.number, self.length
        width, precision = self.choice(["", "5", "20"]), self.choice(["", ".3", ".0", ".12"])
        flag = self.choice(["", "-", "+", " ", "#", "0"])
        operator = self.choice(["+", "-", "*", "/", "%", "<<", ">>", ">>>", "&", "|", "^", "<"])
        start = self.literal(self.choice(PREFIXES) + self.choice(["", "1", "ff", "8", "z"]))
        return self.choice(
            [
                f"strlen({text()})",
                f"substr({text()}, {length()}, {length()})",
                f"stringat({text()}, {length()})",
                f"isinstr({text()}, {text(3)})",
                f"strpos({text()}, {text(3)})",
                f"isdigit({text()})",
                f"str_replace({text()}, {text(3)}, {text(4)})",
                f"strtol({start}, {self.random.choice([0, 1, 2, 8, 10, 16, 36, 37, -1])})",
                f"text_str({text()})",
                f"text_strn({text()}, {length()}, {self.random.choice([0, 1])})",
                f"string_quoted({text()})",
                f"tokenize({text(20)}, {text(3)})",
                f"tokenize({text(3)})",
                f"errno_str({number()})",
                f"return_str({self.random.choice([1, 2, 3, 4])}, {number()})",
                f"signal_str({length()})",
                f"sa_flags_str({number()})",
                f"sock_fam_str2num({text()})",
                f"sigset_mask_str({number()})",
                f"bytes_to_string({number()})",
                f"htonl({number()})",
                f"htonll({number()})",
                f"ip_ntop({number()})",
                f"ctime({self.random.randrange(-(1 << 31), 1 << 31)})",
                f"({number()} {operator} {number()})",
                f"({text()} {self.choice(['<', '==', '>=', '.'])} {text()})",
                f"({text()} =~ {self.literal(self.choice(PATTERNS))})",
                f'sprintf("%{flag}{width}{precision}{self.choice("dxXoupc")}|", {number()})',
                f'sprintf("%{flag}{width}{precision}s|", {text()})',
            ]
        )

    def script(self, calls: int) -> str:
        """Begin probes that print the value, or the error, of so many expressions."""
        lines = []
        for n in range(calls):
            if n % 30 == 0:
                lines.append(f"probe begin({n}) {{")
            lines.append(f'try {{ println("{n} ", {self.call()}) }} catch (m) {{ println(m) }}')
            if n % 30 == 29 or n == calls - 1:
                lines.append("}")
        return "\n".join([*lines, f"probe begin({calls}) {{ exit() }}"])


@pytest.mark.parametrize("seed", range(4))
def test_runtimes_agree(seed: int) -> None:
    script = Generator(seed).script(120)
    done = [stap("-w", f"--runtime={name}", "-", script=script) for name in ("reference", "bpf")]
    assert [d.err for d in done] == ["", ""]
    assert done[1].out.splitlines() == done[0].out.splitlines()
    assert done[0].out.count("\n") >= 120
