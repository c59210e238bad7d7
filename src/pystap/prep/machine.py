"""The machine that is looked at: this one, or the files of another below a directory."""

from __future__ import annotations

import os
from functools import cached_property

from pystap.debuginfo.distribution import Distribution, distribution
from pystap.kernel.cpu import KernelConfig, kernel_config
from pystap.kernel.privilege import Privilege, read_privilege


class UnknownReleaseError(Exception):
    """It is not clear which kernel is meant; the message says why."""


class Machine:
    """Files below ``root`` (empty: of this system), and the kernel ``release``.

    Where that kernel runs here (``live``) things are tried; otherwise its configuration has to
    tell.
    """

    def __init__(self, root: str = "", release: str = "") -> None:
        self.root = root.rstrip("/")
        running = os.uname()
        self.machine = running.machine
        self.release = release or (self._only_release() if self.root else running.release)
        self.live = not self.root and self.release == running.release

    @cached_property
    def config(self) -> KernelConfig | None:
        """The kernel's configuration, None if it is not found."""
        return kernel_config(self.release, self.root)

    @cached_property
    def privilege(self) -> Privilege:
        """What this process may do, and what the settings allow."""
        return read_privilege(self.root)

    @cached_property
    def distribution(self) -> Distribution:
        """Where packages come from."""
        return distribution(self.root)

    def read(self, path: str) -> str | None:
        """The text of a file, without spaces around it; None if it cannot be read."""
        try:
            with open(self.root + path, encoding="utf-8", errors="replace") as file:
                return file.read().strip()
        except OSError:
            return None

    def exists(self, path: str) -> bool:
        """Whether there is such a file or directory."""
        return os.path.exists(self.root + path)

    def names(self, path: str) -> list[str]:
        """The names in a directory, none if there is no such directory."""
        try:
            return sorted(os.listdir(self.root + path))
        except OSError:
            return []

    def packaged(self, command: str) -> str:
        """A command that installs something that belongs to the kernel, with a word of caution
        where the kernel is from no package."""
        known = self.names("/var/lib/dpkg/info")
        if not known or any(f"-{self.release}." in name for name in known):
            return command
        return f"{command} (unless the kernel is from elsewhere: then ask who built it)"

    def lacks(self, *options: str) -> list[str]:
        """Those of the kernel's options that are not set; none where that is not known."""
        if self.config is None:
            return []
        return [option for option in options if self.config.get(option) not in ("y", "m")]

    def _only_release(self) -> str:
        releases = self.names("/lib/modules")
        if len(releases) == 1:
            return releases[0]
        known = ", ".join(releases) or "none"
        raise UnknownReleaseError(f"say which kernel of '{self.root}' is meant (there: {known})")
