"""Programs with modules that probe them: both are made outside of the machine."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

from datadriven import Case
from lab import kernels, modules
from lab.modules import Module, Modules
from stap import Done
from userland.programs import build as compile_program

FLAGS = "-O2 -gdwarf-5 -pie"
FOLDER = "programs"  # in the lab's cache, which the machine sees at the same place


class Program(Module):
    """The module of a case whose script has ``@P@`` for its program, and perhaps ``options``.

    ``flags`` are those of its compiler; without any, the case's first ones.
    """

    maker = "kmod.programs"

    def __init__(self, case: Case, flags: str = "") -> None:
        language = "cxx" if "cxx" in case.sections else "c"
        flags = flags or case.get("flags", FLAGS).split("\n")[0]
        super().__init__(language, flags, case.get(language), case.input, case.get("options"))

    def path(self, made: Modules) -> Path:
        """The program."""
        return Path(json.loads((made.directory(self) / "answer").read_text())["program"])

    def run(self, made: Modules) -> Done:
        """Run the program as the target of its module."""
        return modules.staprun("-c", str(self.path(made)), str(made.build(self)))


def build(kernel: kernels.Kernel, words: list[str], work: Path) -> dict[str, object]:
    """Outside: the program, then the module."""
    language, flags, source, script, options = words
    key = sha256(repr((FOLDER, language, flags, source)).encode()).hexdigest()[:20]
    folder = kernel.home / FOLDER / key
    program = folder / "program"
    if not program.exists():
        # it tells of its source as if that were beside it
        told = f"{flags} -fdebug-prefix-map={work / 'program'}={folder}"
        made = compile_program(source, work / "program", told, language)
        folder.mkdir(parents=True, exist_ok=True)
        made.rename(program)
    text = script.replace("@P@", str(program))
    words = [*options.split(), "-c", str(program), "-e", text]
    done = modules.build(kernel, words, work)
    return {**done, "program": str(program)}
