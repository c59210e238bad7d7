"""The real library as a whole: every function and alias goes through pass 2 without a word."""

from __future__ import annotations

from functools import cache

from pystap.debuginfo.btf import Btf
from pystap.diag.diagnostic import Diagnostics
from pystap.diag.render import render_all
from pystap.lang.environment import Environment
from pystap.options import Options
from pystap.probes.base import ProbeEnv
from pystap.sema.autocast import expand_autocasts
from pystap.sema.declare import declare_file
from pystap.sema.derive import derive_probes
from pystap.sema.elide import Live
from pystap.sema.functions import is_contextual, reach
from pystap.sema.infer import infer_types
from pystap.sema.resolve import resolve_symbols
from pystap.sema.tapset import Tapset
from pystap.sema.work import Work


@cache
def _kernel() -> Btf:
    return Btf.open()


def test_every_function_and_probe_of_the_library() -> None:
    diags = Diagnostics()
    options = Options()
    options.unoptimized = True
    tapset = Tapset(Environment(kernel_release="6.1.0"), diags)
    work = Work(tapset, ProbeEnv(btf=_kernel, diags=diags), options, diags)
    for tree in tapset.load_all():
        declare_file(work, tree)
    derive_probes(work)
    for function in work.declared:
        if not is_contextual(work, function):
            reach(work, function, None)
    resolve_symbols(work)
    expand_autocasts(work)
    assert not diags.errors, render_all(diags)
    infer_types(work, Live(work)).finish()
    assert not diags.items, render_all(diags)
    assert len(work.reached) > 200
