"""Arithmetic with doubles: what the kernel computes is what Python does, bit by bit.

A program calls a function with the bits of two doubles, for each of some thousand pairs; a probe
there prints the results of all the tapset's functions.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from random import Random

import pytest

import inprocess
from userland.programs import build

SOURCE = """
#include <stdio.h>
volatile long sum;
__attribute__((noinline)) void pair(unsigned long a, unsigned long b) { sum += a ^ b; }
int main(int argc, char **argv)
{
    unsigned long a, b;
    FILE *file = fopen(argv[1], "r");
    while (file && fscanf(file, "%lx %lx", &a, &b) == 2)
        pair(a, b);
    return 0;
}
"""
INFINITY, NAN = 0x7FF << 52, 0x7FF8 << 48
LEAST = -(1 << 63)


def bits(value: float) -> int:
    return int(struct.unpack("<Q", struct.pack("<d", value))[0])


def double(pattern: int) -> float:
    return float(struct.unpack("<d", struct.pack("<Q", pattern))[0])


def shown(value: float) -> str:
    """A double as its bits; all that are no number are alike."""
    return "nan" if math.isnan(value) else f"{bits(value):x}"


def quotient(a: float, b: float) -> float:
    if b:
        return a / b
    if not a or math.isnan(a):
        return math.nan
    return math.copysign(math.inf, a) * math.copysign(1, b)


def remainder(a: float, b: float) -> float:
    return math.nan if math.isinf(a) or not b else math.remainder(a, b)


def root(a: float) -> float:
    return math.nan if a < 0 else math.sqrt(a)


def rounded(a: float, mode: int) -> int:
    """fp_to_long."""
    if math.isnan(a) or math.isinf(a):
        return LEAST
    exact = Fraction(a)
    down = math.floor(exact)
    rest = exact - down
    up = {
        0: rest > Fraction(1, 2) or (rest == Fraction(1, 2) and down % 2),
        1: a < 0 and rest,
        2: 0,
        3: rest,
        4: rest > Fraction(1, 2) or (rest == Fraction(1, 2) and a > 0),
        6: rest and down % 2 == 0,
    }[mode]
    result = down + bool(up)
    return result if -LEAST > result >= LEAST else LEAST


def text(a: float, precision: int) -> str:
    if math.isfinite(a) and abs(a) >= 2.0**63:
        return f"{a:.16e}"
    return "nan" if math.isnan(a) else f"{a:.{precision}f}"


def patterns(random: Random, count: int) -> Iterator[int]:
    """Bits of doubles, many of them special."""
    special = [0, 1 << 63, 1, INFINITY, -INFINITY & (1 << 64) - 1, NAN, bits(1.0), bits(-0.5),
               (1 << 52) - 1, 1 << 52, bits(1.7976931348623157e308), bits(2.0**63), bits(-2.0**63),
               bits(2.0**62 + 512), bits(0.1), bits(2.5), bits(-3.5), bits(1e23)]  # fmt: skip
    yield from special
    for _ in range(count):
        kind = random.randrange(6)
        if kind == 0:
            yield random.choice(special)
        elif kind == 1:
            yield random.getrandbits(64)
        elif kind == 2:
            yield bits(random.randrange(-1000, 1000) / random.choice([1, 2, 4, 8, 10]))
        elif kind == 3:  # exponents near one another
            yield (
                random.getrandbits(1) << 63
                | random.randrange(960, 1090) << 52
                | (random.getrandbits(52) & random.choice([-1, -1 << 40, 0xFF, 0]))
            )
        elif kind == 4:
            yield bits(random.uniform(-1, 1) * 10.0 ** random.randrange(-20, 25))
        else:  # subnormal numbers
            yield random.getrandbits(1) << 63 | random.getrandbits(random.randrange(1, 53))


def pairs(seed: int, count: int) -> list[tuple[int, int]]:
    random = Random(seed)
    left, right = list(patterns(random, count)), list(patterns(random, count))
    every = [(a, b) for a in left[:18] for b in right[:18]]
    return every + list(zip(left, right, strict=True))


def run(folder: Path, numbers: list[tuple[int, int]], body: str) -> list[str]:
    """What the body prints for each pair, ``a`` and ``b``."""
    program = build(SOURCE, folder, "-O1")
    values = folder / "values"
    values.write_text("".join(f"{a:x} {b:x}\n" for a, b in numbers))
    script = f"""
      function value:string (x:long) {{
        return fp_eq(x, x) ? sprintf("%x", x) : "nan"
      }}
      probe process("{program}").function("pair") {{
        a = long_arg(1); b = long_arg(2)
        {body}
      }}
    """
    done = inprocess.Run("-c", f"{program} {values}", "-e", script).end(120)
    assert (done.err, done.status) == ("", 0)
    return done.out.splitlines()


def differences(
    numbers: list[tuple[int, int]], expected: list[str], found: list[str]
) -> list[str]:
    assert len(found) == len(expected)
    return [
        f"{a:#x} {b:#x}: {e} but {f}"
        for (a, b), e, f in zip(numbers, expected, found, strict=True)
        if e != f
    ][:10]


def test_arithmetic(tmp_path: Path) -> None:
    numbers = pairs(1, 3000)
    found = run(
        tmp_path,
        numbers,
        """
        printf("%s %s ", value(fp_add(a, b)), value(fp_sub(a, b)))
        printf("%s %s ", value(fp_mul(a, b)), value(fp_div(a, b)))
        printf("%s %s ", value(fp_rem(a, b)), value(fp_sqrt(a)))
        printf("%d %d %d\\n", fp_eq(a, b), fp_le(a, b), fp_lt(a, b))
        """,
    )
    expected = []
    for pattern, other in numbers:
        a, b = double(pattern), double(other)
        results = (a + b, a - b, a * b, quotient(a, b), remainder(a, b), root(a))
        tests = f"{int(a == b)} {int(a <= b)} {int(a < b)}"
        expected.append(" ".join(map(shown, results)) + " " + tests)
    assert differences(numbers, expected, found) == []


def test_integers(tmp_path: Path) -> None:
    numbers = pairs(2, 2000)
    found = run(
        tmp_path,
        numbers,
        """
        printf("%d %d %d ", fp_to_long(a, 0, 0), fp_to_long(a, 1, 1), fp_to_long(a, 2, 0))
        printf("%d %d %d ", fp_to_long(a, 3, 0), fp_to_long(a, 4, 0), fp_to_long(a, 6, 0))
        printf("%s %s\\n", value(long_to_fp(b)), value(fp32_to_fp64(b & 0xffffffff)))
        """,
    )
    expected = []
    for a, b in numbers:
        signed = b - (1 << 64) if b >> 63 else b
        single = float(struct.unpack("<f", struct.pack("<I", b & 0xFFFF_FFFF))[0])
        modes = [str(rounded(double(a), mode)) for mode in (0, 1, 2, 3, 4, 6)]
        expected.append(" ".join([*modes, shown(float(signed)), shown(single)]))
    assert differences(numbers, expected, found) == []


def test_text(tmp_path: Path) -> None:
    numbers = pairs(3, 3000)
    precisions = (0, 1, 3, 6, 17, 18)
    calls = "".join(f'print(fp_to_string(a, {p}), " ");' for p in precisions)
    found = run(tmp_path, numbers, calls + "println()")
    expected = ["".join(text(double(a), p) + " " for p in precisions) for a, _ in numbers]
    assert differences(numbers, expected, found) == []


def test_text_read(tmp_path: Path) -> None:
    """Numbers come back as they were written where the text has all of their digits."""
    random = Random(4)
    numbers = [(bits(round(random.uniform(-1e6, 1e6), 6)), 0) for _ in range(1000)]
    numbers += [(bits(float(random.getrandbits(50))), 0) for _ in range(500)]
    found = run(tmp_path, numbers, "println(value(string_to_fp(fp_to_string(a, 6))))")
    assert differences(numbers, [f"{a:x}" for a, _ in numbers], found) == []


TEXTS = [
    "1", "-1", "+2.5", "0.1", "  3.14159 apples", ".5", "5.", "1e22", "1e-22", "-0", "1E+3", "1e",
    "123456789012345678", "9007199254740993", "1.7976931348623157e308", "1e309", "-1e400",
    "5e-324", "1e-400", "2.2250738585072014e-308", "inf", "-inf", "0.000001234", "8.5e-27",
    "123456789.123456789", "4.35", "0.3", "1.15", "99999999999999999999", "6.02214076e23",
]  # fmt: skip


@pytest.mark.parametrize("runtime", ["bpf", "reference"])
def test_decimal_text(runtime: str) -> None:
    probes = [
        f'probe begin({at}) {{ printf("%x\\n", string_to_fp("{words}")) }}'
        for at, words in enumerate(TEXTS)
    ]
    script = "\n".join([*probes, f"probe begin({len(TEXTS)}) {{ exit() }}"])
    done = inprocess.Run(f"--runtime={runtime}", "-e", script).end(60)
    assert done.err == ""
    words = [w.split()[0].removesuffix("e") for w in TEXTS]
    assert done.out.split() == [f"{bits(float(w)):x}" for w in words]


def test_no_number(tmp_path: Path) -> None:
    script = """probe oneshot {
      printf("%x %x %x\\n", string_to_fp(""), string_to_fp("-x"), string_to_fp("e5"))
      println(fp_to_string(string_to_fp("nan"), 3), fp_to_string(1, -4))
      try { println(fp_to_long(0, 7, 0)) } catch (why) { println(why) }
    }"""
    done = inprocess.Run("-e", script).end(60)
    assert done.err == ""
    assert done.out == (
        "0 8000000000000000 0\nnan0\nthere is no rounding mode 7: they are 0 to 6\n"
    )
