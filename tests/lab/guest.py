"""The pytest in the machine: runs what was selected and writes the results down."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from . import complaints
from .boot import RESULTS, RUNNING, SELECTED

_RECORD = 8192  # bytes; the longest record that /dev/kmsg gives


class Guest:
    """A plugin: selects, and reports to the shared directory as soon as a test has ended."""

    def __init__(self, config: pytest.Config, directory: str) -> None:
        self._config = config
        self._directory = Path(directory)
        self._messages = Messages()
        self._reports: list[dict[str, Any]] = []
        self._complaints: list[str] = []

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Keep what was selected, in that order."""
        nodes = (self._directory / SELECTED).read_text().split("\n")
        places = {node: place for place, node in enumerate(nodes)}
        items[:] = [item for item in items if item.nodeid in places]
        items.sort(key=lambda item: places[item.nodeid])

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Note which test runs, then its result."""
        (self._directory / RUNNING).write_text(item.nodeid)
        self._reports, self._complaints = [], []
        result = yield
        line = json.dumps(
            {"node": item.nodeid, "reports": self._reports, "complaints": self._complaints}
        )
        with (self._directory / RESULTS).open("a") as file:
            file.write(line + "\n")
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """The last report of a test fails when the kernel has complained."""
        report = yield
        if call.when == "teardown":
            messages = self._messages.new()
            self._complaints = complaints.find(messages)
            if self._complaints:
                report.outcome = "failed"
                report.longrepr = "the kernel complained:\n" + "\n".join(messages)
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep a report."""
        self._reports.append(
            self._config.hook.pytest_report_to_serializable(config=self._config, report=report)
        )


class Messages:
    """The messages of the kernel, from the start of the machine on (Documentation/ABI/testing/
    dev-kmsg)."""

    def __init__(self) -> None:
        self._descriptor = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)

    def new(self) -> list[str]:
        """Those that have come since."""
        found: list[str] = []
        while True:
            try:
                record = os.read(self._descriptor, _RECORD)
            except BlockingIOError:
                return found
            except OSError as error:
                if error.errno != errno.EPIPE:  # the oldest were overwritten; the rest follows
                    raise
                continue
            text = record.decode(errors="replace").partition(";")[2]
            found.append(text.partition("\n")[0])
