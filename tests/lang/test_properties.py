"""What must hold for every tree and every text."""

from __future__ import annotations

from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datadriven import load_cases
from lang.trees import expressions, items
from pystap.diag.diagnostic import Diagnostics
from pystap.diag.render import render_all
from pystap.lang import ast
from pystap.lang.environment import Environment
from pystap.lang.limits import allow_deep_trees
from pystap.lang.parser import parse
from pystap.lang.printer import print_expr, print_file
from pystap.lang.source import Source
from pystap.lang.visit import clone, iter_children, same_tree, transform, walk

SCRIPTS = [case.input for case in load_cases(Path(__file__).parent / "data")]
MARKS = '%( %) %? %: @define @x " /* */ %{ %} ( ) { } [ ] $1 @1 $x -> . 0x \\ & \0 # ? ! ++ , *'
WORDS = ("probe ", "function ", "global ", " in ", "if (", "@hist_log(", "@cast(", "1 == 1", "\n")
FRAGMENTS = st.sampled_from([*MARKS.split(), *WORDS])
allow_deep_trees()  # here, for Hypothesis minds that a test changes the recursion limit
SLOW = settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


def read(text: str) -> tuple[ast.File, Diagnostics]:
    diags = Diagnostics()
    env = Environment(guru=True, args=["a*", '"', "$1"])
    return parse(Source("text", text), env, diags), diags


@SLOW
@given(expressions())
def test_printed_expression_parses_back(expr: ast.Expr) -> None:
    text = print_expr(expr)
    file, diags = read(f"probe a {{ x({text}); }}")
    assert diags.errors == [], text
    probe = file.items[0]
    assert isinstance(probe, ast.ProbeDef)
    statement = probe.body.body[0]
    assert isinstance(statement, ast.ExprStmt)
    assert isinstance(statement.expr, ast.Call)
    assert same_tree(statement.expr.args, [expr]), text


@SLOW
@given(st.lists(items(), min_size=1, max_size=3))
def test_printed_file_parses_back(tree: list[ast.TopLevel]) -> None:
    taken: set[str] = set()
    for item in tree:
        if isinstance(item, ast.GlobalDecl):
            item.variables = [v for v in item.variables if v.name not in taken]
            taken.update(v.name for v in item.variables)
    tree = [i for i in tree if not (isinstance(i, ast.GlobalDecl) and not i.variables)]
    text = print_file(ast.File(name="tree", items=tree))
    if not tree:
        return
    file, diags = read(text)
    assert diags.errors == [], text
    assert same_tree(file.items, tree), text


@SLOW
@given(items())
def test_clone_is_equal_and_shares_nothing(item: ast.TopLevel) -> None:
    copy = clone(item)
    assert same_tree(copy, item)
    nodes = {id(n) for n in walk(item)}
    assert not any(id(n) in nodes for n in walk(copy))


@SLOW
@given(items())
def test_transform_meets_every_node_once(item: ast.TopLevel) -> None:
    before = [id(n) for n in walk(item)]
    seen: list[int] = []

    def note(n: object) -> object:
        seen.append(id(n))
        return n

    assert transform(item, note) is item
    assert sorted(seen) == sorted(before)
    assert len(before) == 1 + sum(len(list(walk(c))) for c in iter_children(item))


@SLOW
@given(st.data())
def test_damaged_scripts_get_diagnostics_not_exceptions(data: st.DataObject) -> None:
    text = data.draw(st.sampled_from(SCRIPTS))
    for _ in range(data.draw(st.integers(1, 4))):
        begin = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(begin, min(len(text), begin + 8)))
        text = text[:begin] + data.draw(FRAGMENTS | st.just("")) + text[end:]
    file, diags = read(text)
    assert all(line.isprintable() or "\t" in line for line in _lines(render_all(diags)))
    if not diags.errors:
        again, more = read(print_file(file))
        assert more.errors == [], text
        assert same_tree(again, file), text


@SLOW
@given(st.lists(FRAGMENTS | st.text(st.characters(codec="latin-1"), max_size=3), max_size=30))
def test_any_text_gets_diagnostics_not_exceptions(parts: list[str]) -> None:
    _, diags = read("".join(parts))
    render_all(diags, color=True, verbose=2)


def _lines(text: str) -> list[str]:
    """The lines without bytes above 0x7f, which go through as they came."""
    return ["".join(c for c in line if c < "\x7f") for line in text.split("\n")]
