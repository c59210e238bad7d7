"""Parts of pass 1 that scripts show only indirectly: positions, library loading, versions."""

from __future__ import annotations

from pathlib import Path

import pytest

from pystap.diag.diagnostic import Diagnostics
from pystap.lang import ast
from pystap.lang.conditions import version_compare, wildcard_match
from pystap.lang.environment import Environment
from pystap.lang.lexer import lex
from pystap.lang.macros import load_macro_library
from pystap.lang.parser import parse
from pystap.lang.printer import print_expr, print_file, print_probe_point, print_stmt
from pystap.lang.source import Source
from pystap.lang.tokens import Token
from pystap.lang.visit import clone, iter_children, same_tree, transform, walk


def read(text: str, **env: object) -> tuple[ast.File, Diagnostics]:
    diags = Diagnostics()
    return parse(Source("s", text), Environment(**env), diags), diags  # type: ignore[arg-type]


def test_positions() -> None:
    diags = Diagnostics()
    text = 'probe a {\n\t"x\\n"  $1y\n}'
    tokens = lex(Source("s", text), Environment(args=["z "]), diags)
    places = [(t.kind, t.text, t.line, t.column) for t in tokens]
    assert places == [
        ("keyword", "probe", 1, 1),
        ("identifier", "a", 1, 7),
        ("operator", "{", 1, 9),
        ("string", "x\n", 2, 2),
        ("identifier", "z", 2, 9),
        ("identifier", "y", 2, 11),
        ("operator", "}", 3, 1),
    ]


def test_used_arguments_are_noted_for_user_scripts_only() -> None:
    env = Environment(args=["a", "b", "c"])
    parse(Source("t", "function f() { return @1 }", "tapset"), env, Diagnostics())
    assert env.unused_args() == [1, 2, 3]
    parse(Source("u", "probe a { @3 }"), env, Diagnostics())
    assert env.unused_args() == [1, 2]


def test_privileged_constructs_in_tapset_files() -> None:
    diags = Diagnostics()
    text = 'function f:long() %{ /* pure */ %} probe a { x = @const("X") }'
    file = parse(Source("t", text, "tapset"), Environment(), diags)
    assert diags.errors == []
    assert len(file.items) == 2


def test_empty_tapset_file_is_no_error() -> None:
    diags = Diagnostics()
    parse(Source("t", '%( arch == "vax" %? probe a {} %)', "tapset"), Environment(), diags)
    assert diags.items == []


def test_token_that_a_node_points_at() -> None:
    file, _ = read("probe a { x = b + c[1]; $d->e; f(g) }")
    texts = {type(n).__name__: n.tok.text for n in walk(file) if isinstance(n, ast.Node)}
    assert texts["Binary"] == "+"
    assert texts["Assign"] == "="
    assert texts["Index"] == "c"
    assert texts["TargetVar"] == "$d"
    assert texts["Call"] == "f"
    assert texts["ProbeDef"] == "probe"
    assert texts["ProbePoint"] == "a"


def test_expansion_chain() -> None:
    file, _ = read("@define inn(x) %( @x + 1 %) @define out(y) %( @inn(@y) %) probe a { @out(z) }")
    (name,) = [n for n in walk(file) if isinstance(n, ast.Name)]
    chain = []
    token: Token | None = name.tok
    while token is not None:
        chain.append((token.text, token.column))
        token = token.expansion
    assert chain == [("z", 74), ("@y", 52), ("@x", 19), ("@inn", 47), ("@out", 69)]


def test_library_files_are_read_on_demand(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "one.stpm").write_text("@define one %( 1 %)")
    (tmp_path / "sub" / "two.stpm").write_text("@define two(x) %( @x + @one %)")
    (tmp_path / "other.stp").write_text("@define three %( 3 %)")
    diags, env = Diagnostics(), Environment()
    library = load_macro_library([str(tmp_path)], env, diags)
    assert sorted(library.names()) == ["one", "two"]
    parse(Source("s", "probe a { }"), env, diags, library)
    assert library.used_files == []
    parse(Source("s", "probe a { @one }"), env, diags, library)
    assert library.used_files == [str(tmp_path / "one.stpm")]
    file = parse(Source("s", "probe a { @two(3) }"), env, diags, library)
    assert print_file(file) == "# file s\nprobe a {\n  3 + 1;\n}\n"
    assert library.get("three") is None
    assert diags.items == []


def test_load_all_reports_every_file(tmp_path: Path) -> None:
    (tmp_path / "a.stpm").write_text("@define a %( 1 %) junk")
    (tmp_path / "b.stpm").write_text("@define b %( 1")
    diags = Diagnostics()
    load_macro_library([str(tmp_path)], Environment(), diags).load_all()
    assert [d.causes[0].message for d in diags.warnings] == [
        f"unexpected token in library macro file '{tmp_path}/a.stpm'",
        "incomplete macro definition - missing '%)'",
    ]


def test_unreadable_library_file_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "a.stpm").write_text("@define a %( 1 %)")
    diags = Diagnostics()
    library = load_macro_library([str(tmp_path)], Environment(), diags)
    (tmp_path / "a.stpm").unlink()
    assert library.get("a") is None
    assert len(diags.warnings) == 1
    assert "a.stpm" in diags.warnings[0].message


@pytest.mark.parametrize(
    "ordered",
    [
        ["000", "00", "01", "010", "09", "0", "1", "9", "10"],
        ["2.6.9", "2.6.32", "3.10", "4.4", "5.10.0", "5.10.1", "5.10.100", "6.1", "6.1.0"],
        ["", "a", "a1", "a2", "a10", "b"],
        ["6.1.0-9-amd64", "6.1.0-18-amd64", "6.1.0-18-rt"],
    ],
)
def test_versions_order_as_strverscmp(ordered: list[str]) -> None:
    for i, a in enumerate(ordered):
        for j, b in enumerate(ordered):
            result = version_compare(a, b)
            assert (result > 0) - (result < 0) == (i > j) - (i < j), (a, b)


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("*", "", True),
        ("a?c", "abc", True),
        ("a?c", "ac", False),
        ("[a-c]x", "bx", True),
        ("[!a-c]x", "bx", False),
        ("[!a-c]x", "dx", True),
        ("[]]", "]", True),
        ("[a", "[a", True),
        ("a\\*", "a\\bc", True),
        ("a.c", "abc", False),
        ("[z-a]", "b", False),
        ("*a*b*", "xxayybzz", True),
        ("[\\]", "\\", True),
        ("[[]", "[", True),
        ("a*", "a\nb", True),
    ],
)
def test_wildcards_match_as_fnmatch(pattern: str, text: str, matches: bool) -> None:
    assert wildcard_match(pattern, text) is matches


def test_printing_single_parts() -> None:
    file, _ = read(
        'probe a.b("x")? if (c), a(7).b(0xffffffff81000010) { if (x) y = 1; else { z } }'
    )
    probe = file.items[0]
    assert isinstance(probe, ast.ProbeDef)
    assert [print_probe_point(point) for point in probe.points] == [
        'a.b("x")? if (c)',
        "a(7).b(0xffffffff81000010)",
    ]
    statement = probe.body.body[0]
    assert print_stmt(statement) == "if (x)\n  y = 1;\nelse {\n  z;\n}"
    assert isinstance(statement, ast.If)
    assert print_expr(statement.cond) == "x"


def test_printing_an_else_that_would_change_owner() -> None:
    file, _ = read("probe a { if (x) if (y) b }")
    probe = file.items[0]
    assert isinstance(probe, ast.ProbeDef)
    outer = probe.body.body[0]
    assert isinstance(outer, ast.If)
    outer.orelse = ast.Null(tok=outer.tok)
    again, _ = read(f"probe a {{ {print_stmt(outer)} }}")
    probe = again.items[0]
    assert isinstance(probe, ast.ProbeDef)
    assert isinstance(probe.body.body[0], ast.If)
    assert probe.body.body[0].orelse is not None


def test_visiting() -> None:
    file, _ = read("probe a { foreach (v = [i, j] in arr[1, *] limit n) { x[*] = $y[z]->m } }")
    names = [n.name for n in walk(file) if isinstance(n, ast.Name)]
    assert names == ["i", "j", "v", "arr", "n", "x", "z"]
    loop = next(n for n in walk(file) if isinstance(n, ast.Foreach))
    assert [type(c).__name__ for c in iter_children(loop)] == [
        "Name", "Name", "Name", "Name", "Number", "Name", "Block",
    ]  # fmt: skip


def test_clone_resets_what_later_stages_fill() -> None:
    file, _ = read("function f:long(a:string) { return g(a) + 1 }")
    function = file.items[0]
    assert isinstance(function, ast.FunctionDef)
    for n in walk(function):
        if isinstance(n, ast.Expr):
            n.type, n.ctype = "long", object()
        if isinstance(n, ast.Name):
            n.symbol = object()
        if isinstance(n, ast.Call):
            n.functions.append(object())
    copy = clone(function)
    assert same_tree(copy, function)
    assert (copy.type, copy.params[0].type) == ("long", "string")
    for n in walk(copy):
        if isinstance(n, ast.Expr):
            assert (n.type, n.ctype) == ("unknown", None)
        if isinstance(n, ast.Name):
            assert n.symbol is None
        if isinstance(n, ast.Call):
            assert n.functions == []


def test_transform_replaces_and_leaves_alone() -> None:
    file, _ = read("probe a { x = y + @defined(y) }")

    def rename(n: object) -> object:
        if isinstance(n, ast.Name) and n.name == "y":
            return ast.Number(tok=n.tok, value=7)
        return n

    transform(file, rename, lambda n: not isinstance(n, ast.AtOp))
    assert "x = 7 + @defined(y);" in print_file(file)


def test_trees_that_differ() -> None:
    base, _ = read("probe a { x = 1 }")
    for other in ("probe a { x = 2 }", "probe a { y = 1 }", "probe b { x = 1 }", "probe a { }"):
        assert not same_tree(base, read(other)[0])
    assert same_tree(base, read("probe   a {\n x = (1); }")[0])
    with pytest.raises(TypeError):
        list(walk(object()))  # type: ignore[arg-type]
