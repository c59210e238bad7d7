"""Which distribution a system is, and the commands that install what tracing needs there."""

from __future__ import annotations

from pystap.typing import Final, NamedTuple

_FILES: Final = ("/etc/os-release", "/usr/lib/os-release")
_INSTALL: Final = {
    "debian": "apt-get install",
    "ubuntu": "apt-get install",
    "redhat": "dnf install",
    "suse": "zypper install",
    "arch": "pacman -S",
    "alpine": "apk add",
    "void": "xbps-install",
}
#: words of ID and ID_LIKE (os-release(5)), the more special ones first
_FAMILIES: Final = {
    "ubuntu": "ubuntu", "debian": "debian", "fedora": "redhat", "rhel": "redhat",
    "centos": "redhat", "suse": "suse", "opensuse": "suse", "sles": "suse", "arch": "arch",
    "alpine": "alpine", "void": "void",
}  # fmt: skip
#: public servers of debug information, as the projects name them
_SERVERS: Final = {
    "debian": "https://debuginfod.debian.net",
    "ubuntu": "https://debuginfod.ubuntu.com",
    "redhat": "https://debuginfod.fedoraproject.org",
    "centos": "https://debuginfod.centos.org",
    "suse": "https://debuginfod.opensuse.org",
    "arch": "https://debuginfod.archlinux.org",
}
_ANY_SERVER: Final = "https://debuginfod.elfutils.org"


class Distribution(NamedTuple):
    """A distribution: ``family`` says how its packages are called and installed, empty when that
    is not known; ``name`` is for people."""

    id: str
    family: str
    name: str

    def install(self, *packages: str) -> str:
        """The command that installs packages; empty when it is not known."""
        command = _INSTALL.get(self.family, "")
        return f"{command} {' '.join(packages)}" if command and packages else ""

    def headers(self, release: str) -> str:
        """The command that installs what modules for kernel ``release`` are built with."""
        return self.install(*_headers(self.family, release))

    def kernel_debuginfo(self, release: str) -> str:
        """The command that installs the debug information of kernel ``release``; may be empty."""
        if self.family == "redhat":
            return f"dnf debuginfo-install kernel-{release}"
        return self.install(*_kernel_debuginfo(self.family, release))

    def program_debuginfo(self, package: str) -> str:
        """The command that installs the debug information of a package; may be empty."""
        if self.family == "redhat":
            return f"dnf debuginfo-install {package}"
        suffix = {"debian": "-dbgsym", "ubuntu": "-dbgsym", "suse": "-debuginfo", "void": "-dbg"}
        if self.family not in suffix:
            return ""
        return self.install(package + suffix[self.family])

    @property
    def compiler(self) -> str:
        """The command that installs a C compiler and make."""
        return self.install("gcc", "make")

    @property
    def libdw(self) -> str:
        """The command that installs the library that reads debug information."""
        package = {"debian": "libdw1", "ubuntu": "libdw1", "redhat": "elfutils-libs"}
        return self.install(package.get(self.family, "elfutils"))

    @property
    def server(self) -> str:
        """A debuginfod server with this distribution's packages."""
        return _SERVERS.get(self.id) or _SERVERS.get(self.family) or _ANY_SERVER


def distribution(root: str = "") -> Distribution:
    """The distribution installed below ``root`` (default: the running one)."""
    for path in _FILES:
        try:
            with open(root + path, encoding="utf-8", errors="replace") as file:
                return _from_text(file.read())
        except OSError:
            continue
    return Distribution("", "", "an unknown distribution")


def _from_text(text: str) -> Distribution:
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    values = {key.strip(): value.strip().strip("\"'") for key, _, value in pairs}
    name = values.get("ID", "")
    for word in (name, *values.get("ID_LIKE", "").split()):
        family = _FAMILIES.get(word) or _FAMILIES.get(word.partition("-")[0])
        if family:
            break
    else:
        family = ""
    return Distribution(name, family, values.get("PRETTY_NAME") or name or "an unknown one")


def _headers(family: str, release: str) -> list[str]:
    if family in ("debian", "ubuntu"):
        return [f"linux-headers-{release}"]
    if family == "redhat":
        return [f"kernel-devel-{release}"]
    if family == "suse":
        return [f"kernel-{_flavour(release)}-devel"]
    if family == "arch":
        kind = next((k for k in ("lts", "zen", "hardened", "rt") if f"-{k}" in release), "")
        return [f"linux-{kind}-headers" if kind else "linux-headers"]
    if family == "alpine":
        return [f"linux-{_flavour(release)}-dev"]
    if family == "void":
        return [f"linux{_series(release)}-headers"]
    return []


def _kernel_debuginfo(family: str, release: str) -> list[str]:
    if family == "debian":
        return [f"linux-image-{release}-dbg"]
    if family == "ubuntu":
        return [f"linux-image-{release}-dbgsym"]
    if family == "suse":
        return [f"kernel-{_flavour(release)}-debuginfo"]
    if family == "void":
        return [f"linux{_series(release)}-dbg"]
    return []


def _flavour(release: str) -> str:
    """What a release ends in: ``default`` of ``6.4.0-150600.23-default``."""
    return release.rpartition("-")[2]


def _series(release: str) -> str:
    """``6.6`` of ``6.6.52_1``."""
    return ".".join(release.split(".")[:2])
