"""Scripts larger than BPF's frames, stack and branches: they work, or an error names the limit."""

from __future__ import annotations

import pytest

from inprocess import stap


def both(script: str, *options: str) -> str:
    """The output of a script, which is the same on the interpreter."""
    words = [*options, "-e", script]
    found = stap("--disable-cache", *words)
    assert (found.err, found.status) == ("", 0)
    assert found.out == stap("--runtime=reference", *words).out
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
