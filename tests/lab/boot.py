"""One machine that runs the selected tests of a kernel, seen from outside."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pytest

from . import ahead, kernels, modules
from .machine import Ending, Machine, Settings

# Files in the directory that both sides share.
SELECTED, RUNNING, RESULTS, OUTPUT = "selected", "running", "results", "output"
_PASSED = ("PYTHONPATH", "FUZZ_SEED", "FUZZ_PROGRAMS")  # environment variables
_POLL = 0.05  # seconds
_OUTPUT_TAIL = 4000  # characters


class Boot:
    """The machine: started when made, asked for the result of each of its tests by :meth:`take`,
    which fails those that the machine did not get to."""

    def __init__(
        self,
        config: pytest.Config,
        kernel: str,
        nodes: Sequence[str],
        wanted: Sequence[modules.Module] = (),
    ) -> None:
        """``wanted`` are the modules that the tests declare."""
        self._config = config
        self._awaited = set(nodes)
        self._results: dict[str, list[pytest.TestReport]] = {}
        self._attributed: list[str] = []  # complaints that made a test fail
        self._read = 0  # bytes of the results
        self._ending: Ending | None = None
        self._refusal = ""
        self._told = False  # what is known about a machine that ended early
        self._directory = Path(tempfile.mkdtemp(prefix="pystap-lab-"))
        (self._directory / SELECTED).write_text("\n".join(nodes))
        self._kernel = kernel
        self._helper: subprocess.Popen[bytes] | None = None
        self._builder: subprocess.Popen[bytes] | None = None
        modules.ask(self._directory, wanted)
        self._machine: Machine | None = None
        try:
            self._machine = self._start(kernel, nodes)
        except kernels.LabError as error:
            self._refusal = str(error)

    def _start(self, kernel: str, nodes: Sequence[str]) -> Machine:
        root = self._config.rootpath
        words = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist"]
        words += ["--rootdir", str(root)]
        words += ["--lab-guest", kernel, "--lab-directory", str(self._directory)]
        words += dict.fromkeys(node.partition("::")[0] for node in nodes)
        settings = Settings(
            seconds=self._config.getoption("lab_seconds"),
            shared=(self._directory,),
            environment={n: os.environ[n] for n in _PASSED if n in os.environ},
            directory=root,
        )
        with (self._directory / OUTPUT).open("wb") as out:
            return Machine(kernels.get(kernel), words, settings, out.fileno(), out.fileno())

    def take(self, node: str, item: pytest.Item) -> list[pytest.TestReport]:
        """The reports of a test, waited for.  The last test also waits for the machine's end and
        takes the blame for what happens then."""
        while node not in self._results and self._machine and self._machine.running():
            time.sleep(_POLL)
            self._collect()
        self._awaited.discard(node)
        if node not in self._results or not self._awaited:
            self._finish()
        reports = self._results.get(node)
        if reports is None:
            return [_failure(item, self._why_not(node))]
        if not self._awaited and (trouble := self._unattributed()):
            reports.append(_failure(item, trouble, "teardown"))
        return reports

    def close(self) -> None:
        """End the machine if it runs and remove what was shared."""
        for process in (self._helper, self._builder):
            if process is not None:
                process.kill()
                process.wait()
        if self._machine is not None and self._ending is None:
            self._machine.kill()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _finish(self) -> None:
        """Let the machine end and read the rest."""
        if self._machine is not None and self._ending is None:
            self._ending = self._machine.wait()
            self._collect()

    def _collect(self) -> None:
        """Read results that have been written since; serve what the machine asks for."""
        if self._helper is None and (self._directory / ahead.FACTS).exists():
            self._helper = ahead.serve(self._directory)
        if self._builder is None and os.listdir(self._directory / modules.WANTED):
            self._builder = modules.serve(self._directory, self._kernel)
        if self._builder is not None and self._builder.poll() is not None:
            (self._directory / modules.GONE).touch()
        try:
            with (self._directory / RESULTS).open("rb") as file:
                file.seek(self._read)
                text = file.read()
        except FileNotFoundError:
            return
        text = text[: text.rfind(b"\n") + 1]
        self._read += len(text)
        hook = self._config.hook
        for line in text.splitlines():
            result = json.loads(line)
            self._attributed += result["complaints"]
            for data in result["reports"]:
                if isinstance(data["longrepr"], list):  # JSON has no tuples
                    data["longrepr"] = tuple(data["longrepr"])
            self._results[result["node"]] = [
                hook.pytest_report_from_serializable(config=self._config, data=data)
                for data in result["reports"]
            ]

    def _why_not(self, node: str) -> str:
        """Why a test has no result."""
        if self._refusal:
            return f"no machine: {self._refusal}"
        assert self._ending is not None
        running = self._directory / RUNNING
        last = running.read_text() if running.exists() else ""
        if last == node:
            head = "the machine did not survive this test"
        elif last:
            head = f"the machine had ended when it ran {last}"
        else:
            head = "no test ran in the machine"
        if self._told:
            return f"{head}; the first such failure tells more"
        self._told = True
        output = (self._directory / OUTPUT).read_text(errors="replace")[-_OUTPUT_TAIL:]
        return f"{head}\n{self._ending.trouble()}\nits output:\n{output}"

    def _unattributed(self) -> str:
        """What went wrong outside of tests, empty when nothing did."""
        assert self._ending is not None
        left = [
            line
            for line in self._ending.complaints
            if not any(text in line for text in self._attributed)
        ]
        whole = self._ending.status is not None
        return "" if whole and not left else self._ending.trouble()


def _failure(
    item: pytest.Item, text: str, phase: Literal["call", "teardown"] = "call"
) -> pytest.TestReport:
    """A report of a failure."""
    return pytest.TestReport(item.nodeid, item.location, {}, "failed", text, phase)
