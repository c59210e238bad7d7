"""From script text to IR, through the real front end with its own tapset."""

from __future__ import annotations

from functools import cache

from pystap.debuginfo.btf import Btf
from pystap.diag.diagnostic import Diagnostics, StageError
from pystap.ir.limits import limits_of
from pystap.ir.lower import lower
from pystap.ir.module import Module
from pystap.lang.environment import Environment
from pystap.lang.parser import parse
from pystap.lang.source import Source
from pystap.options import Options
from pystap.probes.base import ProbeEnv
from pystap.sema.analyze import analyze
from pystap.sema.program import Program
from pystap.sema.tapset import Tapset


class BadScriptError(Exception):
    """The front end refused a script; the text names every error."""


def make_options(**values: object) -> Options:
    """Options that keep the front end from optimising, so that tests see what they wrote."""
    options = Options()
    options.unoptimized = True
    options.global_var_display = False
    for name, value in values.items():
        setattr(options, name, value)
    return options


def program_of(script: str, options: Options) -> Program:
    """Pass 1 and 2."""
    diags = Diagnostics()
    env = Environment(kernel_release="6.1.0", guru=options.guru)
    tapset = Tapset(env, diags)
    tree = parse(Source("<input>", script), env, diags, tapset.macros)
    try:
        if not diags.errors:
            probe_env = ProbeEnv(btf=_no_btf, diags=diags, guru=options.guru)
            return analyze([tree], tapset, probe_env, options, diags)
    except StageError:
        pass
    raise BadScriptError("; ".join(f"{d.message}: {d.token}" for d in diags.errors))


def module_of(script: str, options: Options | None = None) -> Module:
    """Pass 3, complete."""
    options = options or make_options()
    return lower(program_of(script, options), options, limits_of(options))


@cache
def _no_btf() -> Btf:
    raise AssertionError("this script needs kernel types")
