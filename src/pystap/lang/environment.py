"""What pass 1 must know about the session: the inputs of ``%( %)`` conditions and the rights.

A plain class because the command line builds one on every start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pystap.typing import Literal

Runtime = Literal["bpf", "kernel", "dyninst", "reference"]
Privilege = Literal["stapdev", "stapsys", "stapusr"]

LANGUAGE_VERSION = "5.6"


def _no_config(_option: str) -> str:
    return ""


class Environment:
    """The surroundings a file is parsed in.

    ``kernel_release`` is what ``uname -r`` says of the target; ``arch`` is SystemTap's name of
    its architecture (``x86_64``, ``arm64``, ...); ``compatible`` is the language version to
    speak; ``config`` maps ``CONFIG_X`` to its value, ``""`` when unset; ``args`` are the script
    arguments ``$1``... ; ``guru`` allows what only ``stap -g`` may do in user scripts.
    ``used_args`` collects the numbers of the arguments user scripts have used; it is filled by
    parsing.
    """

    __slots__ = (
        "arch",
        "args",
        "compatible",
        "config",
        "guru",
        "kernel_base",
        "kernel_release",
        "privilege",
        "runtime",
        "used_args",
        "version",
    )

    def __init__(
        self,
        *,
        kernel_release: str = "",
        arch: str = "x86_64",
        compatible: str = LANGUAGE_VERSION,
        runtime: Runtime = "bpf",
        privilege: Privilege = "stapdev",
        guru: bool = False,
        config: Callable[[str], str] = _no_config,
        args: Iterable[str] = (),
    ) -> None:
        self.kernel_release = kernel_release
        self.kernel_base = kernel_release.split("-", 1)[0]
        self.arch = arch
        self.compatible = compatible
        self.version = _version(compatible)
        self.runtime: Runtime = runtime
        self.privilege: Privilege = privilege
        self.guru = guru
        self.config = config
        self.args = list(args)
        self.used_args: set[int] = set()

    def current(self) -> Environment:
        """For files in today's language whatever version scripts are to speak; what conditions
        see of that version stays."""
        today = _version(LANGUAGE_VERSION)
        if self.version == today:
            return self
        from copy import copy

        made = copy(self)
        made.version = today
        return made

    def use_all_args(self) -> None:
        """Note that the script looks at its arguments as a whole (``argc``, ``argv``)."""
        self.used_args.update(range(1, len(self.args) + 1))

    def unused_args(self) -> list[int]:
        """Numbers of the arguments no user script used, to be warned about."""
        return [n for n in range(1, len(self.args) + 1) if n not in self.used_args]


def _version(text: str) -> tuple[int, int]:
    """``4.10`` as (4, 10): what comparisons with language versions need."""
    numbers = [int(part) if part.isdecimal() else 0 for part in text.split(".")[:2]]
    return (numbers[0], numbers[1] if len(numbers) > 1 else 0)
