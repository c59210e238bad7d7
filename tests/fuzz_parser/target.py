"""One script through passes 1 to 3: a tree, a program, or diagnostics; nothing else."""

from __future__ import annotations

import random
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from pystap.cli.environment import make_environment
from pystap.cli.passes import Front, missing_btf
from pystap.debuginfo.btf import BtfMissing
from pystap.diag.diagnostic import DiagnosticError, Diagnostics, StageError
from pystap.diag.render import render_all
from pystap.ir.check import check as check_module
from pystap.ir.limits import limits_of
from pystap.ir.lower import lower
from pystap.lang import ast
from pystap.lang.environment import Environment
from pystap.lang.macros import MacroLibrary
from pystap.lang.parser import parse
from pystap.lang.printer import print_file
from pystap.lang.source import Source
from pystap.lang.visit import same_tree
from pystap.options import Options
from pystap.sema.analyze import analyze
from pystap.sema.dump import dump

MOST_SECONDS = 10.0  # of processor time for one script
MOST_MEMORY = 1 << 30  # bytes that the process may grow by
_VERSIONS = (None, None, None, None, "5.2", "4.0", "3.0", "2.2", "1.7")


class TooSlowError(Exception):
    """A script took too much processor time."""


def random_options(chance: random.Random) -> Options:
    """Options that change what passes 1 and 2 do."""
    options = Options()
    options.guru = chance.random() < 0.3
    options.unoptimized = chance.random() < 0.1
    options.skip_badvars = chance.random() < 0.1
    options.compatible = chance.choice(_VERSIONS)
    options.args = ["7", "a*", '"', "begin", "x.y"][: chance.randrange(6)]
    return options


def run(text: str, options: Options, passes: int = 3) -> str:
    """Take one script as far as it goes; the pass that refused it (``parse``, ``analyse`` or
    ``lower``), else ``ok``.

    ``passes`` is the last pass to try.  With 3 also what the passes make is checked: the tree is
    printed and parsed again, the module goes through its checker.  Raises whatever a pass raises
    besides its diagnostics, and AssertionError when results do not fit each other.
    """
    with _limited_time():
        diags = Diagnostics()
        environment = make_environment(options)
        tree = parse(Source("<input>", text), environment, diags, _macros())
        if diags.errors:
            _rendered(diags)
            return "parse"
        if passes == 1:
            return "ok"
        if passes == 3:
            _check_printed(tree, environment)
        front = Front(options)
        return _analysed(front.parse(Source("<input>", text)), front, passes)


@cache
def _macros() -> MacroLibrary:
    """The macro library, which scripts share: to make it anew takes longer than parsing."""
    return Front(Options()).tapset.macros


def _analysed(tree: ast.File, front: Front, passes: int) -> str:
    try:
        program = analyze([tree], front.tapset, front.probe_env, front.options, front.diags)
    except (StageError, DiagnosticError, BtfMissing) as error:
        if isinstance(error, DiagnosticError):
            front.diags.add(error.diagnostic)
        elif isinstance(error, BtfMissing):
            front.diags.add(missing_btf(error))
        assert front.diags.errors, "refused without an error"
        _rendered(front.diags)
        return "analyse"
    assert not front.diags.errors, "accepted with errors"
    _rendered(front.diags)
    if passes == 2:
        return "ok"
    dump(program, True)
    try:
        module = lower(program, front.options, limits_of(front.options))
    except DiagnosticError:
        return "lower"
    problems = check_module(module)
    assert not problems, problems[:3]
    return "ok"


def _check_printed(tree: ast.File, environment: Environment) -> None:
    """What is printed of a tree parses back to the same tree."""
    text = print_file(tree)
    diags = Diagnostics()
    environment.args, args = [], environment.args
    again = parse(Source("<printed>", text), environment, diags, _macros())
    environment.args = args
    assert not diags.errors, f"printed text does not parse: {render_all(diags)}"
    assert same_tree(again, tree), "printed text parses to another tree"


def _rendered(diags: Diagnostics) -> None:
    text = render_all(diags)
    assert len(text) < 1_000_000, "diagnostics without end"


@contextmanager
def bounded_memory() -> Iterator[None]:
    """What runs in here gets MemoryError when the process grows by ``MOST_MEMORY``."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    most = pages * resource.getpagesize() + MOST_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@contextmanager
def _limited_time() -> Iterator[None]:
    def late(_signal: int, _frame: object) -> None:
        raise TooSlowError(f"more than {MOST_SECONDS} seconds")

    handler = signal.signal(signal.SIGVTALRM, late)
    signal.setitimer(signal.ITIMER_VIRTUAL, MOST_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, handler)
