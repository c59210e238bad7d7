"""Scripts larger than BPF's frames, stack and branches: they work, or an error names the limit."""

from __future__ import annotations

import re

import pytest

from inprocess import stap


def both(script: str, *options: str) -> str:
    """The output of a script, which is the same on the interpreter."""
    words = [*options, "-e", script]
    found = stap("--disable-cache", *words, timeout=120)
    assert (found.err, found.status) == ("", 0)
    assert found.out == stap("--runtime=reference", *words, timeout=120).out
    return found.out


def nest(heads: list[str], body: str) -> str:
    begin, end = "global n, a probe oneshot { a[1] = 2; a[2] = 5;", "; println(n, a[1]) }"
    return f"{begin} {' '.join(heads)} {body} {end}"


@pytest.mark.parametrize("depth", [3, 8, 12])
def test_nested_loops(depth: int) -> None:
    heads = [f"for (i{d} = 0; i{d} < 2; i{d}++)" for d in range(depth)]
    assert both(nest(heads, "n += i0 + 1"), "-DMAXACTION=100000") == f"{3 * 2 ** (depth - 1)}2\n"


@pytest.mark.parametrize("depth", [4, 6])
def test_nested_foreach_over_one_array(depth: int) -> None:
    heads = [f"foreach (k{d}- in a)" for d in range(depth)]
    assert both(nest(heads, "n += k0")) == f"{3 * 2 ** (depth - 1)}2\n"


def test_loops_that_are_left_from_inside() -> None:
    heads = [f"for (i{d} = 0; i{d} < 3; i{d}++)" for d in range(9)]
    leave = "if (i8 == 1) break; if (i3 == 1) continue; if (n > 20) { exit(); next }"
    both(nest(heads, f"{{ {leave} n++; println(i0, i8) }}"), "-DMAXACTION=100000")


def chain(length: int, body: str) -> str:
    functions = [
        f"function f{i}(x) {{ {body.format(next=f'f{i + 1}')} }}\n" for i in range(length)
    ]
    last = f"function f{length}(x) {{ return x }}\n"
    return "global n, a\n" + "".join(functions) + last + "probe oneshot { println(f0(3)) }"


@pytest.mark.parametrize("length", [7, 9, 30])
def test_chains_of_calls(length: int) -> None:
    body = "for (i = 0; i < 2; i++) n++; if (x % 2) return {next}(x + 1) + {next}(x); return n"
    both(chain(length, body))


def test_calls_from_loops() -> None:
    both(chain(9, "for (i = 0; i < 2; i++) n += {next}(x + i); return n"), "-DMAXACTION=100000")


def test_strings_through_a_chain_of_calls() -> None:
    functions = [
        f'function f{i}(s) {{ for (i = 0; i < 2; i++) s .= "{i}"; '
        f'return f{i + 1}(s) . f{i + 1}("") }}'
        for i in range(8)
    ]
    both(
        "\n".join(functions)
        + ' function f8(s) { return s . "." } probe oneshot { println(f0("a")) }'
    )


def test_errors_in_deep_calls_name_the_callers() -> None:
    script = chain(
        9, "for (i = 0; i < 1; i++) n++; if (x < 9) return {next}(x + 1 / (x - 5)); return n"
    )
    caught = script.replace(
        "println(f0(3))", "try { f0(4) } catch (m) { println(m) } println(f0(5))"
    )
    found = stap("--disable-cache", "-e", caught)
    assert found.out == stap("--runtime=reference", "-e", caught).out
    assert found.err == stap("--runtime=reference", "-e", caught).err
    assert found.status == 1


def tree(depth: int, leaf: str, number: int = 1) -> str:
    """A sum of sums of ``2 ** depth`` leaves; ``@`` in a leaf is its number."""
    if depth == 0:
        return leaf.replace("@", str(number))
    parts = (tree(depth - 1, leaf, 2 * number + i) for i in (0, 1))
    return f"({' + '.join(parts)})"


SQUARE = "function square(x) { for (i = 0; i < 2; i++) y += x; return y * y } "


@pytest.mark.parametrize(
    "expression",
    [
        tree(7, "square(@)"),
        tree(7, "n / @"),
        " + ".join(f"n / {i} * square({i})" for i in range(1, 120)),
        " ^ (3 + ".join(f"n % {i}" for i in range(1, 60)) + ")" * 58,
        " ? 1 : ".join(f"square({i}) == n" for i in range(100)) + " ? 1 : 2",
        tree(6, 'strlen(sprintf("%d %s", n + @, s . "@"))'),
    ],
)
def test_large_expressions(expression: str) -> None:
    both(f'{SQUARE} global n = 1000, s = "x" probe oneshot {{ println({expression}) }}')


def test_many_arguments_that_are_large() -> None:
    arguments = ", ".join(tree(2, f"n / (@ + {i})") for i in range(32))
    both(f'global n = 977 probe oneshot {{ printf("{"%d " * 32}\\n", {arguments}) }}')


def test_functions_with_many_parameters() -> None:
    names = [f"p{i}" for i in range(30)]
    inner = f"f({', '.join(f'n / {i + 1}' for i in range(30))})"
    outer = f"f({', '.join(inner if i % 7 == 3 else f'n - {i}' for i in range(30))})"
    body = "for (i = 0; i < 2; i++) p0++; return " + " + ".join(f"{p} * {p}" for p in names)
    function = f"function f({', '.join(names)}) {{ {body} }}"
    both(f"{function} global n = 9 probe oneshot {{ println({outer}) }}")


def test_many_strings_at_once() -> None:
    parts = ' . s . "-" . '.join(f'f("{i}", s)' for i in range(70))
    pairs = "function f(a, b) { return a . b } "
    long = " . ".join(["s"] * 90)
    both(f'{pairs} global s = "x" probe oneshot {{ println({parts}); println({long}) }}')


def test_thousands_of_statements() -> None:
    steps = " ".join(f"n += {i}; if (n % {i + 2} == 1) m ^= n;" for i in range(1500))
    both(f"global n, m probe oneshot {{ {steps} println(n, m) }}", "-DMAXACTION=100000")


def test_more_branches_than_the_verifier_keeps_note_of() -> None:
    steps = " ".join(f"if (n > {i} && n < 9 || n == {i}) n += {i}; else n++;" for i in range(2900))
    both(f"global n probe oneshot {{ {steps} println(n) }}", "-DMAXACTION=100000")


def test_long_bodies_are_left_from_their_parts() -> None:
    filler = " ".join(f"n += {i};" for i in range(300))
    ways = "if (i == 2) continue; if (i == 5) break; if (i == n) next;"
    script = (
        f"global n, z = 0 function f(x) {{ {filler} if (x == 1) return n; {filler} "
        f'if (x == 2) error("two"); {filler} return -n }} '
        f"probe begin {{ z = n; "
        f"for (i = 0; i < 9; i++) {{ {filler} {ways} {filler} println(i, n) }} "
        f"println(f(0), f(1)); try {{ {filler} f(2) println(1 / z) {filler} }} catch (m) {{ "
        f"{filler} println(m) }} "
        f"try {{ {filler} n /= z; {filler} }} catch (m) {{ println(m, n) }} "
        f'exit() {filler} if (n > 0) next; {filler} println("not here") }}'
    )
    both(script, "-DMAXACTION=100000")


def test_a_long_handler_of_a_tracepoint() -> None:
    steps = " ".join(f"if ($next->pid % {i + 2} == 0) n++; a[{i % 50}] = n;" for i in range(300))
    script = f'global n, a probe kernel.trace("sched_switch") {{ {steps} exit() }}'
    end = "probe end { println(n > 0, a[49] > 0) }"
    done = stap("--disable-cache", "-DMAXACTION=100000", "-e", f"{script} {end}")
    assert (done.out, done.err, done.status) == ("11\n", "", 0)


def refused(script: str) -> str:
    done = stap("--disable-cache", "-e", script, timeout=120)
    assert (done.out, done.status) == ("", 1)
    return done.err


def test_more_arrays_than_a_program_has_maps() -> None:
    names = [f"a{i}" for i in range(70)]
    uses = " ".join(f"{name}[1] = 1;" for name in names)
    said = refused(f"global {', '.join(names)} probe begin {{ {uses} exit() }}")
    assert re.search(r"probe begin at \S+ uses 7\d maps \(.*\), BPF allows 64\n", said)
    assert "hint: use fewer arrays there" in said


def test_more_loops_than_a_program_has_functions() -> None:
    loops = " ".join(f"for (i = 0; i < {i}; i++) n++;" for i in range(300))
    said = refused(f"global n probe begin {{ {loops} exit() }}")
    assert re.search(r"probe begin at \S+ has 3\d\d functions and loops, BPF allows 256\n", said)


def test_hundreds_of_probes_of_a_system_call() -> None:
    ours = " ".join(
        f"probe syscall.getppid {{ if (pid() == target()) {{ n++; s = execname() . sprint({i}) "
        f"if (n < 0) println(s, n, tid()) }} }}"
        for i in range(300)
    )
    command = "sh -c 'exec python3 -c \"import os; os.getppid()\"'"
    done = stap(
        "--disable-cache",
        "-c",
        command,
        "-e",
        f"global n, s {ours} probe end {{ println(n > 0, n % 300) }}",
        timeout=120,
    )
    assert (done.out, done.err) == ("10\n", "")


def test_functions_that_call_twice_do_not_grow_twofold() -> None:
    names = " ".join(
        f"function f{i}(x) {{ return f{i - 1}(x + 1) + f{i - 1}(x) }}" for i in range(1, 14)
    )
    both(
        f"function f0(x) {{ return x }} {names} probe oneshot {{ println(f13(1)) }}",
        "-DMAXACTION=100000",
    )


def test_a_large_script_that_takes_many_locks() -> None:
    names = [f"g{i}" for i in range(40)]
    all_up = " ".join(f"{name} = g0 + 1;" for name in reversed(names))
    filler = " ".join(f"if (g0 == -{i}) g0 = {i};" for i in range(1, 200))
    done = stap(
        "--disable-cache",
        "-DMAXACTION=100000",
        "-e",
        f"global bad, {', '.join(names)} "
        f'probe kernel.trace("sched_switch") {{ {filler} {all_up} if (g0 > 50) exit() }} '
        f"probe timer.ms(1) {{ if (g0 != g39) bad++ }} "
        f"probe end {{ println(g0 > 50, {' + '.join(names)} == 40 * g0, bad) }}",
        timeout=120,
    )
    assert (done.out, done.err, done.status) == ("110\n", "", 0)
