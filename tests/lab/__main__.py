"""``python -m tests.lab``: run a command under a kernel of the lab, or ask about the kernel."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from . import kernels, machine
from .kernels import Kernel, LabError

_EPILOG = (
    "KERNEL is 6.1 or 6.12 (of Debian 12), another suite of Debian (sid) or SUITE/PACKAGE."
    " The status is the command's; 124: time ran out, 125: the machine died, 126: the kernel"
    " complained though the command succeeded."
)


def main(words: list[str]) -> int:
    """Do what the command line says; the status."""
    options, command = _parse(words)
    try:
        kernel = kernels.get(options.kernel)
        return _run(kernel, options, command) if command else _tell(kernel, options)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return machine.DIED


def _parse(words: list[str]) -> tuple[argparse.Namespace, list[str]]:
    command: list[str] = []
    if "--" in words:
        at = words.index("--")
        words, command = words[:at], words[at + 1 :]
    parser = argparse.ArgumentParser(
        "python -m tests.lab", usage="%(prog)s [OPTION...] [-- COMMAND...]", epilog=_EPILOG
    )
    add = parser.add_argument
    add("--kernel", default="6.1", help="default: 6.1")
    add("--release", action="store_true", help="print the kernel's release")
    add("--builddir", action="store_true", help="print the tree to build modules in")
    add("--vmlinux", action="store_true", help="print the file with debugging information")
    add("--seconds", type=float, default=600, help="time limit, default: 600")
    add("--memory", default="2G", help="default: 2G")
    add("--cpus", type=int, default=2, help="default: 2")
    add("--rw", type=Path, action="append", default=[], metavar="DIR", dest="shared",
        help="a directory the command may write to")  # fmt: skip
    add("--env", action="append", default=[], metavar="NAME=VALUE", help="for the command")
    add("--append", default="", metavar="WORDS", help="for the kernel's command line")
    add("--counting", action="store_true", help="time is instructions, one a nanosecond")
    options = parser.parse_args(words)
    asked = options.release or options.builddir or options.vmlinux
    if bool(command) == bool(asked):
        parser.error("give a command, or one of --release, --builddir and --vmlinux")
    return options, command


def _tell(kernel: Kernel, options: argparse.Namespace) -> int:
    if options.release:
        print(kernel.release)
    if options.builddir:
        print(kernel.build)
    if options.vmlinux:
        print(kernels.add_debug(kernel))
    return 0


def _run(kernel: Kernel, options: argparse.Namespace, command: list[str]) -> int:
    settings = machine.Settings(
        seconds=options.seconds,
        memory=options.memory,
        cpus=options.cpus,
        shared=options.shared,
        environment=dict(one.split("=", 1) for one in options.env),
        append=options.append,
        counting=options.counting,
    )
    ending = machine.run(kernel, command, settings)
    if trouble := ending.trouble():
        print(f"lab: {trouble}", file=sys.stderr)
    return ending.exit_status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
