"""Hostile and huge input: a tree or a clean diagnostic, in reasonable time."""

from __future__ import annotations

import time

import pytest

from pystap.diag.diagnostic import Diagnostics
from pystap.diag.render import render_all
from pystap.lang import ast
from pystap.lang.environment import Environment
from pystap.lang.limits import MAX_DEPTH
from pystap.lang.parser import parse
from pystap.lang.printer import print_file
from pystap.lang.source import Source
from pystap.lang.visit import clone, same_tree, transform

MANY = 30_000
MORE = 5_000
FITS = MAX_DEPTH - 100

TOO_DEEP = "too deeply nested"
TOO_HIGH = "expression too deeply nested"
TOO_MUCH = "macros expand to more than 500000 tokens"


def read(text: str, *args: str) -> tuple[ast.File, Diagnostics]:
    diags = Diagnostics()
    return parse(Source("big", text), Environment(guru=True, args=args), diags), diags


def doubling(levels: int, core: str) -> str:
    """Macros of which each invokes the one before twice."""
    lines = [f"@define m0 %( {core} %)"]
    lines += [f"@define m{n + 1} %( @m{n} @m{n} %)" for n in range(levels)]
    return "\n".join([*lines, f"probe a {{ @m{levels} }}"])


def chained(levels: int) -> str:
    """Macros of which each invokes the one before."""
    lines = ["@define m0 %( x %)"]
    lines += [f"@define m{n + 1} %( @m{n} %)" for n in range(levels)]
    return "\n".join([*lines, f"probe a {{ @m{levels} }}"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("probe a { x = " + "(" * MANY + "1" + ")" * MANY + " }", TOO_DEEP),
        ("probe a { x = " + "(" * MANY, TOO_DEEP),
        ("probe a " + "{" * MANY + "}" * MANY, TOO_DEEP),
        ("probe a { x = " + "a + " * MANY + "a }", TOO_HIGH),
        ("probe a { x = " + "a . " * MANY + "a }", TOO_HIGH),
        ("probe a { x = " + "(a + " * 600 + "a" + ")" * 600 + " + a" * 600 + " }", TOO_HIGH),
        ("probe a { x = " + "! " * MANY + "a }", TOO_DEEP),
        ("probe a { x = " + "& " * MANY + "$a }", TOO_DEEP),
        ("probe a { " + "if (x) " * MANY + "a }", TOO_DEEP),
        ("probe a { " + "if (x) a; else " * MANY + "a }", TOO_DEEP),
        ("probe a { x = " + "a ? b : " * MANY + "a }", TOO_DEEP),
        ("probe a { x = " + "a ? " * MANY + "a }", TOO_DEEP),
        ("probe a { " + "a = " * MANY + "a }", TOO_DEEP),
        ("probe a { x = " + "a[" * MANY, TOO_DEEP),
        ("probe a { x = " + "a(" * MANY, TOO_DEEP),
        ("probe a { x = " + "print(" * MANY, TOO_DEEP),
        ("probe a { x = " + "@cast(" * MANY, TOO_DEEP),
        ("probe a { x = " + "@count(" * MANY, TOO_DEEP),
        ("probe a { x = " + "@hist_log(" * MANY, TOO_DEEP),
        ("probe a { x = $a" + "[$a" * MANY, TOO_DEEP),
        ("probe a {" + " try {" * MANY, TOO_DEEP),
        ("probe a { foreach (x in y[" + "a + " * MANY + "1]) ; }", TOO_HIGH),
        ("probe a { foreach (x in @hist_log(" + "a + " * MANY + "1)) ; }", TOO_HIGH),
        ("probe a if (" + "a + " * MANY + "1) {}", TOO_HIGH),
        ("probe " + "{" * MANY + "a" + "}" * MANY + " {}", TOO_DEEP),
        ("probe " + ".".join(["{a,b}"] * 30) + " {}", "braces make more than 10000 probe points"),
        (doubling(40, "x"), TOO_MUCH),
        (doubling(40, ""), TOO_MUCH),
        (chained(5000), "macros too deeply nested"),
        ("@define f(x) %( @x %) probe a { " + "@f(" * 5000 + "1" + ")" * 5000 + " }", TOO_MUCH),
        ("%( 1 == 1 %? " * MANY, "incomplete conditional at end of file"),
    ],
    ids=lambda v: (v or "fits")[:40].replace(" ", "_"),
)
def test_nesting_is_bounded(text: str, message: str | None) -> None:
    _, diags = read(text)
    assert [d.message for d in diags.errors] == ([message] if message is not None else [])
    assert len(render_all(diags)) < 20_000


@pytest.mark.parametrize(
    "text",
    [
        "probe a { x = " + "(" * FITS + "1" + ")" * FITS + " }",
        "probe a " + "{" * FITS + "}" * FITS,
        "probe a { x = " + "a + " * FITS + "a }",
        "probe a { x = " + "! " * FITS + "a }",
        "probe a { " + "if (x) a; else " * FITS + "a }",
        "probe a { x = " + "a ? b : " * FITS + "a }",
        "probe a { " + "a = " * FITS + "a }",
        "probe a { x = " + "f(" * FITS + "1" + ")" * FITS + " }",
        "probe a { x = " + "@defined(" * FITS + "$x" + ")" * FITS + " }",
        "probe a { x = f(" + "a + b, " * MORE + "a) }",
        "probe a { x = $a" + "->b" * MORE + " }",
        "probe a { x = $a" + "[1]" * MORE + " }",
        "probe a { x = " + '"a" ' * MORE + " }",
        "probe a { " + "x = 1 + 2; " * 5_000 + " }",
        "probe " + ",".join(["a.b"] * 5_000) + " {}",
        "probe " + "*" * MORE + " {}",
        "%( 1 == 1 %? " * MORE + " probe a {} " + "%)" * MORE,
        "function f(" + ",".join(f"a{n}" for n in range(MORE)) + ") {}",
        "global " + ",".join(f"a{n}" for n in range(MORE)),
        chained(500),
    ],
    ids=lambda v: v[:40].replace(" ", "_"),
)
def test_what_fits_survives_printing_cloning_and_rewriting(text: str) -> None:
    file, diags = read(text)
    assert diags.errors == []
    again, more = read(print_file(file))
    assert more.errors == []
    assert same_tree(again, file)
    copies = [clone(item) for item in file.items]
    assert same_tree(copies, file.items)
    assert [transform(item, lambda n: n) for item in copies] == copies


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Input file 'big' is empty."),
        ("\n\n", "Input file 'big' is empty."),
        ("\0", "expected 'probe', 'global', 'private', 'function', or '%{'"),
        ("probe a { x\0y }", "expected literal string or number"),
        ("\xff\xfe\x00p\x00", "expected 'probe', 'global', 'private', 'function', or '%{'"),
        ('probe a { x = "' + "a" * 10**7, "Could not find matching closing quote"),
        ("probe a { /* " + "x* " * 10**6, "expected statement"),
        ("%{" + "%" * 10**6, "Could not find matching '%}' to close embedded function block"),
        ("\n" * 10**6 + "probe a { ) }", "expected literal string or number"),
        (" " * 10**7 + "probe a { ) }", "expected literal string or number"),
        ("probe a { " + "x = 1; " * 50_000 + ") }", "expected literal string or number"),
        (bytes(range(256)).decode("latin-1") * 1000, None),
    ],
    ids=range(12),
)
def test_bad_bytes_and_long_lines(text: str, message: str | None) -> None:
    _, diags = read(text)
    assert diags.errors
    if message is not None:
        assert [d.message for d in diags.errors] == [message]
    assert len(render_all(diags)) < 3000


def test_many_errors_are_counted_not_repeated() -> None:
    _, diags = read("probe a { ) }\n" * 20_000)
    assert len(diags.errors) == 20_000
    text = render_all(diags)
    assert text.count("parse error:") == 1
    assert "20000 parse errors.\nNumber of similar error messages suppressed: 19999.\n" in text


def test_pasting_into_a_long_line_is_not_quadratic() -> None:
    start = time.process_time()
    _, diags = read("probe a { " + "x = $1 y; " * 20_000 + " }", "f*")
    assert diags.errors == []
    assert time.process_time() - start < 5


SCRIPT = """
# count system calls by process
global calls{n}[1000], start{n}%[2000], times{n}
probe syscall.open.return, kernel.function("vfs_{n}").call? {{
  if (target() && pid() != target()) next
  name = execname() . ":" . sprintf("%d", pid())
  calls{n}[name, tid()]++
  t = gettimeofday_us() - start{n}[tid()]
  if (t > 1000 || (t < 0 && !quiet)) {{
    printf("%-16s %6d %s\\n", execname(), pid(), argstr)   /* slow one */
    times{n} <<< t
  }} else if ($$parms != "" && $file->f_path->dentry[3]->d_name$ == 12) {{
    foreach ([a, b] in calls{n}- limit %( kernel_v >= "3.0" %? @ten %: 20 %))
      printf("%s %d %d\\n", a, b, calls{n}[a, b])
    // nothing
  }}
  delete start{n}[tid()]
}}
function f_{n}:long (x:long, s:string) {{
  y = x * 3 + (x >> 2) - 0x1f & ~7
  for (i = 0; i < 10; i++)
    y += strlen(s) % (i + 1)
  try {{ return y > 0 ? @count(times{n}) : @avg(times{n}) }} catch (msg) {{ println(msg) }}
  return y
}}
"""


def test_speed() -> None:
    text = "@define ten %( 10 %)\n" + "".join(SCRIPT.format(n=n) for n in range(200))
    rates = []
    for _ in range(3):
        start = time.process_time()
        _, diags = read(text)
        rates.append(text.count("\n") / (time.process_time() - start))
        assert diags.items == []
    assert max(rates) > 15_000
