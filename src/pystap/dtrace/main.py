"""``dtrace -h|-G -s FILE.d``: what a build of a program with marks asks of this command."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence

from pystap.dtrace.definitions import DefinitionError, Probe, read_definitions
from pystap.dtrace.output import counters, header
from pystap.records import dataclass, field
from pystap.typing import Final

_USAGE: Final = """\
Usage: dtrace -h|-G -s FILE.d [-o FILE] [-C [-I DIR] [-D NAME[=VALUE]] [-U NAME]] [-k] [OBJECT...]

  -h           write a C header with a macro for each mark (default FILE.h)
  -G           write an object with the counters of the marks (default FILE.o); it is compiled
               by $CC with $CFLAGS, and what other objects are named is not changed
  -s FILE      the marks: provider NAME { probe NAME(TYPE, ...); };
  -o FILE      where to write
  -C           run the file through the C preprocessor first
  -I DIR       for -C and -G, as a compiler takes it; the same goes for -D and -U
  -k           keep temporary files, and tell their names
  --types      with -h: also typedefs PROVIDER_NAME_argN
  --help, --version
"""
_VALUED: Final = {"-s": "script", "-o": "output"}
_OF_COMPILER: Final = ("-I", "-D", "-U")
# Meant for other systems: nothing here depends on them.
_WITHOUT_EFFECT: Final = ("-32", "-64", "-fpic", "-fPIC", "-xnolibs", "-q", "-v", "--verbose")


class UsageError(Exception):
    """Words that make no sense; the text says why."""


@dataclass(slots=True)
class Options:
    """What the command line asks for."""

    mode: str = ""
    script: str = ""
    output: str = ""
    preprocess: bool = False
    keep: bool = False
    types: bool = False
    compiler: list[str] = field(default_factory=list)


class DtraceError(Exception):
    """What was asked for cannot be made; the text says why."""


def main(words: Sequence[str]) -> int:
    """Run the command with these words; its exit status."""
    if "--help" in words or "-?" in words:
        sys.stdout.write(_USAGE)
        return 0
    if "--version" in words or "-V" in words:
        from pystap import __version__

        sys.stdout.write(f"dtrace (pystap) {__version__}\n")
        return 0
    try:
        _run(parse(words))
    except UsageError as problem:
        sys.stderr.write(f"dtrace: {problem}\n{_USAGE}")
        return 2
    except DtraceError as problem:
        sys.stderr.write(f"dtrace: {problem}\n")
        return 1
    except OSError as problem:
        what = f"{problem.filename}: " if problem.filename else ""
        sys.stderr.write(f"dtrace: {what}{problem.strerror}\n")
        return 1
    return 0


def parse(words: Sequence[str]) -> Options:
    """Read the command line.  Raises :class:`UsageError`."""
    options = Options()
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word in ("-h", "-G"):
            if options.mode not in ("", word):
                raise UsageError("-h and -G exclude one another")
            options.mode = word
        elif word in _VALUED or word in _OF_COMPILER:
            if not rest:
                raise UsageError(f"{word} needs a value")
            _set(options, word, rest.pop(0))
        elif word[:2] in _VALUED or word[:2] in _OF_COMPILER:
            _set(options, word[:2], word[2:])
        elif word in ("-C", "-k", "--types"):
            name = {"-C": "preprocess", "-k": "keep", "--types": "types"}[word]
            setattr(options, name, True)
        elif word in _WITHOUT_EFFECT or not word.startswith("-"):
            pass
        else:
            raise UsageError(f"unknown option {word}")
    if not options.mode:
        raise UsageError("neither -h nor -G is given")
    if not options.script:
        raise UsageError("no file is given with -s")
    if not options.output:
        ending = ".h" if options.mode == "-h" else ".o"
        options.output = os.path.splitext(os.path.basename(options.script))[0] + ending
    return options


def _set(options: Options, word: str, value: str) -> None:
    if word in _VALUED:
        setattr(options, _VALUED[word], value)
    else:
        options.compiler += [word, value]


def _run(options: Options) -> None:
    with open(options.script, encoding="latin-1") as file:
        text = file.read()
    if options.preprocess:
        text = _preprocessed(options)
    try:
        probes = read_definitions(text)
    except DefinitionError as problem:
        where = f"{options.script}:{problem.line}"
        raise DtraceError(f"{where}: {problem}") from None
    source = os.path.basename(options.script)
    if options.mode == "-h":
        with open(options.output, "w", encoding="latin-1") as file:
            file.write(header(probes, source, options.types))
    else:
        _compile(probes, source, options)


def _preprocessed(options: Options) -> str:
    """The text as the C preprocessor leaves it, lines where they were."""
    compiler = shlex.split(os.environ.get("CPP", "cpp"))
    done = _command([*compiler, "-P", *options.compiler, options.script], options.script)
    if options.keep:
        name = f"{options.output}.dtrace-temp.d"
        with open(name, "w", encoding="latin-1") as file:
            file.write(done)
        sys.stderr.write(f"preprocessed text: {name}\n")
    return done


def _compile(probes: Sequence[Probe], source: str, options: Options) -> None:
    folder = os.path.dirname(options.output) or "."
    descriptor, name = tempfile.mkstemp(".dtrace-temp.c", dir=folder)
    try:
        with os.fdopen(descriptor, "w", encoding="latin-1") as file:
            file.write(counters(probes, source))
        compiler = shlex.split(os.environ.get("CC", "gcc"))
        flags = shlex.split(os.environ.get("CFLAGS", ""))
        words = ["-fPIC", *flags, *options.compiler, "-c", name, "-o", options.output]
        _command([*compiler, *words], options.script)
    finally:
        if options.keep:
            sys.stderr.write(f"source of the counters: {name}\n")
        else:
            os.unlink(name)


def _command(words: list[str], script: str) -> str:
    """What a command writes.  Raises :class:`DtraceError` with what it complains about."""
    try:
        done = subprocess.run(words, capture_output=True, check=False)
    except OSError as problem:
        raise DtraceError(f"cannot run {words[0]}: {problem.strerror}") from None
    if done.returncode:
        complaint = done.stderr.decode("latin-1").rstrip()
        raise DtraceError(f"{script}: {words[0]} failed:\n{complaint}")
    return done.stdout.decode("latin-1")


def command() -> None:
    """The installed command."""
    sys.exit(main(sys.argv[1:]))


if __name__ == "__main__":
    command()
