"""Runs cases through passes 1 and 2 with a small library, a made-up kernel and a made-up family.

Sections of a case besides the script: ``[options]``, one a line (``unoptimized``, ``guru``,
``verbose``, ``no-display``, ``skip-badvars``, ``compatible VERSION``, ``-G NAME=VALUE``);
``[tapset FILE]``, a further library file; ``[script]``, a further user script.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from datadriven import Case
from pystap.debuginfo.btf import Btf
from pystap.diag.diagnostic import Diagnostics, StageError
from pystap.diag.render import render_all
from pystap.lang import ast
from pystap.lang.environment import Environment
from pystap.lang.parser import parse
from pystap.lang.source import Source
from pystap.options import Options
from pystap.probes.base import ProbeEnv
from pystap.sema.analyze import analyze
from pystap.sema.dump import dump
from pystap.sema.program import Program
from pystap.sema.tapset import Tapset

from . import tapset as library

RELEASE = "6.1.0-17-amd64"


def options_of(case: Case) -> Options:
    """Session options of a case."""
    options = Options()
    for line in case.get("options").splitlines():
        word, _, rest = line.partition(" ")
        if word == "-G":
            name, _, value = rest.partition("=")
            options.global_inits[name] = value
        elif word == "no-display":
            options.global_var_display = False
        elif word == "verbose":
            options.verbose[1] = 1
        elif word == "compatible":
            options.compatible = rest
        else:
            assert hasattr(options, word.replace("-", "_")), line
            setattr(options, word.replace("-", "_"), True)
    return options


class Session:
    """One run of the front end."""

    def __init__(self, directory: Path, options: Options, case: Case | None = None) -> None:
        self.options = options
        self.diags = Diagnostics()
        self.environment = Environment(kernel_release=RELEASE, guru=options.guru)
        own = directory / "own"
        own.mkdir(exist_ok=True)
        library.write(own)
        for section, text in (case.sections if case else {}).items():
            if section.startswith("tapset "):
                file = own / section.removeprefix("tapset ")
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text)
        self.tapset = Tapset(self.environment, self.diags, own=str(own))
        self.probe_env = ProbeEnv(
            btf=lambda: kernel(directory),
            diags=self.diags,
            guru=options.guru,
            skip_badvars=options.skip_badvars,
        )

    def parse(self, text: str, name: str = "<input>") -> ast.File:
        return parse(Source(name, text), self.environment, self.diags, self.tapset.macros)

    def analyze(self, *texts: str) -> Program | None:
        """The program, None after errors."""
        names = ("<input>", "<input1>", "<input2>")
        files = [self.parse(text, name) for name, text in zip(names, texts)]
        if self.diags.errors:
            return None
        try:
            return analyze(files, self.tapset, self.probe_env, self.options, self.diags)
        except StageError:
            return None


@cache
def kernel(directory: Path) -> Btf:
    """The made-up kernel's BTF."""
    from probes import fakekernel

    place = directory / "btf"
    place.mkdir()
    return fakekernel.write(place)


def run_case(case: Case, directory: Path) -> str:
    """Diagnostics of a case and, when it is right, the dump of its program."""
    session = Session(directory, options_of(case), case)
    scripts = [case.input] + ([case.get("script")] if "script" in case.sections else [])
    program = session.analyze(*scripts)
    text = render_all(session.diags).replace(f"{directory}/own/", "")
    if program is not None:
        text += dump(program, bool(session.options.verbose[1]))
    return text
