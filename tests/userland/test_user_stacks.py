"""User-space stacks, against what the program itself knows of its calls."""

from __future__ import annotations

import os
import random
import re
import shlex
from pathlib import Path

import pytest

import inprocess
from datadriven import Case, assert_case, load_cases
from userland.programs import build

SEED = int(os.environ.get("STACK_SEED", "7"))
# CASES = load_cases(Path(__file__).parent / "stacks")
CASES = [
    pytest.param(case, flags, id=f"{case}{flags.replace(' ', '')}")
    for case in load_cases(Path(__file__).parent / "stacks")
    for flags in case.get("flags", "-O2 -g").splitlines()
]
OPTIMISED = "-O2 -fomit-frame-pointer -fno-optimize-sibling-calls -pie"

_BODIES = (
    # a small frame
    "char x[{size}]; x[n % {size}] = n; touch(x); long r = {call}; touch(x); return r + x[0];",
    # of a size known at run time only: addressed by rbp
    "volatile long m = n % 7 + {size}; char x[m]; x[0] = n; touch(x); long r = {call}; touch(x);"
    " return r + x[0];",
    # many values that must survive the call: all registers are saved
    "long a = n + 1, b = n * 3, c = n ^ 5, d = n - 9, e = n * n, f = n / 3 + {size};"
    " touch(&a); touch(&b); long r = {call}; return r + a + b * c - d + (e ^ f);",
    # a realigned stack
    "char x[64] __attribute__((aligned(64))); x[n & 63] = n; touch(x); long r = {call}; touch(x);"
    " return r + x[1];",
)


def _program(seed: int) -> str:
    """A program that takes random ways down to ``leaf``, and writes each of them before."""
    generator = random.Random(seed)
    count = 24
    functions = []
    for number in range(count):
        later = [generator.randrange(number + 1, count + 1) for _ in range(3)]
        calls = [f"way({number}, n, {to})" for to in later]
        call = f"(n % 3 == 0 ? {calls[0]} : n % 3 == 1 ? {calls[1]} : {calls[2]})"
        body = generator.choice(_BODIES).format(size=generator.randrange(8, 400), call=call)
        functions.append(f"__attribute__((noinline, noclone)) long f{number}(long n) {{ {body} }}")
    table = ", ".join([*(f"f{n}" for n in range(count)), "leaf"])
    return f"""
#include <stdio.h>
#include <stdlib.h>
#define COUNT {count}
typedef long function(long);
extern function *table[];
static int path[64], depth;
static unsigned long state = {seed + 1};
static inline void touch(void *x) {{ __asm__ volatile ("" : : "r" (x) : "memory"); }}
static inline __attribute__((always_inline)) long way(int from, long n, int to)
{{
    state = state * 6364136223846793005ul + 1442695040888963407ul;
    path[depth++] = to;
    long r = table[to]((state >> 33) + (from & 1));
    depth--;
    return r;
}}
{os.linesep.join(f"long f{n}(long);" for n in range(count))}
__attribute__((noinline, noclone)) long leaf(long n)
{{
    for (int i = depth - 2; i >= 0; i--)
        fprintf(stderr, "f%d ", path[i]);
    fputs("main\\n", stderr);
    touch(&n);
    return n;
}}
{os.linesep.join(functions)}
function *table[] = {{ {table} }};
int main(int argc, char **argv)
{{
    long hits = atol(argv[1]);
    for (long i = 0; i < hits; i++) {{
        depth = 0;
        touch(&i);
        state += way(0, i, i % 3);
    }}
    return 0;
}}
"""


@pytest.mark.parametrize(("case", "flags"), CASES)
def test_prints(case: Case, flags: str, tmp_path: Path) -> None:
    flags += " -fno-optimize-sibling-calls -fno-ipa-icf"
    language = "cxx" if "cxx" in case.sections else "c"
    program = build(case.get(language), tmp_path, flags, language)
    script = case.input.replace("@P@", str(program))
    options = shlex.split(case.get("options"))
    done = inprocess.Run(*options, "-c", str(program), "-e", script).end(60)
    assert_case(case, plain(done.out, program) + done.err)


def plain(text: str, program: Path) -> str:
    """Output without numbers that differ from machine to machine, and what calls main."""
    text = text.replace(str(program), "@P@")
    text = re.sub(r"0x[0-9a-f]+", "0x*", text)
    text = re.sub(r"\[/[^] ]*/(libc\.so\.6)", r"[\1", text)
    # The C library has names for what calls main only with its debug information.
    text = re.sub(r"^( 0x\* : )?(__libc_start_\w+|_start)\+.*\n", "", text, flags=re.M)
    text = re.sub(r"^ 0x\* \[libc\.so\.6\+.*\n|^0x\* \[libc\.so\.6\+.*\n", "", text, flags=re.M)
    return re.sub(r"^(main\+.*\n)(0x\*\n)+", r"\1", text, flags=re.M)


@pytest.mark.parametrize(
    "flags",
    [OPTIMISED, OPTIMISED.replace("-pie", "-no-pie"), "-O2 -static -fomit-frame-pointer", "-O0"],
)
def test_every_way_to_a_function_is_found(flags: str, tmp_path: Path) -> None:
    check_ways(flags, 2500, tmp_path)


def check_ways(flags: str, hits: int, tmp_path: Path) -> None:
    """So many random ways to a function are told as the program itself tells them."""
    program = build(_program(SEED), tmp_path, flags)
    script = f"""
        probe process("{program}").function("leaf") {{
          for (i = 1; i < 40 && ustack(i); i++) {{
            name = usymname(ustack(i))
            printf("%s", name == "main" ? "main\\n" : name . " ")
            if (name == "main") break
          }}
        }}"""
    run = inprocess.Run("-D", "MAXBACKTRACE=40", "-c", f"{program} {hits}", "-e", script).end(300)
    expected = run.err.splitlines()
    assert len(expected) == hits
    assert run.out.splitlines() == expected
    assert run.status == 0


def test_samples_reach_main(tmp_path: Path) -> None:
    """Wherever a program is interrupted: between any two instructions, in libraries, too."""
    source = _program(SEED).replace('fprintf(stderr, "f%d ", path[i])', "state ^= path[i]")
    source = source.replace('fputs("main\\n", stderr)', "free(calloc(1, 9 + state % 5000))")
    program = build(source, tmp_path, OPTIMISED)
    script = """
        global samples, reached
        probe perf.sw.cpu_clock.sample(100000) {
          if (pid() != target() || !user_mode()) next
          found = 0
          for (i = 0; i < 40 && ustack(i); i++)
            if (usymname(ustack(i)) == "main") { found = 1; break }
          if (samples >= 10000) exit()
          else { samples++; reached += found }
        }
        probe end { printf("%d %d\\n", samples, reached) }"""
    run = inprocess.Run("-D", "MAXBACKTRACE=40", "-c", f"{program} 2000000000", "-e", script).end(
        120
    )
    samples, reached = map(int, run.out.split())
    assert samples == 10000, run.err
    assert reached >= 0.95 * samples
