"""Fetching stock Debian kernels: package, header tree, what a machine boots from.

A kernel has a name: ``6.1`` or ``6.12`` (both of Debian 12), any other suite of Debian (``sid``,
``trixie``), or ``SUITE/PACKAGE`` for another package than ``linux-image-amd64``.  What is fetched
stays in a cache directory: ``PYSTAP_LAB_CACHE``, else ``~/.cache/pystap-lab``.  The packages come
from ``PYSTAP_LAB_MIRROR`` (default ``http://deb.debian.org``, with ``/debian`` and
``/debian-security`` below it) through package lists of our own, so neither the sources of this
machine nor root privileges matter; signatures are checked against Debian's keyring.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from . import image

DEFAULT = ("6.1", "6.12")
_KNOWN = {"6.1": "bookworm/linux-image-amd64", "6.12": "bookworm/linux-image-6.12-amd64"}
_ARCHIVE = "linux-image-amd64"
_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_COMPILER = re.compile(r"\bgcc-\d+\b")
# Runs a program with other files over those of this machine, in a mount namespace of its own.
_OVER = """\
#!/bin/sh
exec unshare -m sh -c 'mount -t overlay none -o lowerdir={files}:/usr /usr && exec "$@"' \\
  sh /usr/bin/{program} "$@"
"""
_LAYOUT = "1"  # of the cache; a kernel unpacked by another layout is fetched again
# Directories that are symbolic links to those in /usr on a merged system.
_MERGED = ("bin", "sbin", "lib")


class LabError(Exception):
    """The lab cannot do what was asked; the text says why and what would help."""


@dataclass(frozen=True)
class Kernel:
    """A kernel in the cache: its name, its release (``uname -r``) and its directory."""

    name: str
    release: str
    home: Path

    @property
    def tree(self) -> Path:
        """What the packages put into the file system."""
        return self.home / "tree"

    @property
    def vmlinux(self) -> Path:
        """The uncompressed kernel, which starts sooner than the compressed one."""
        return self.home / "vmlinux"

    @property
    def initramfs(self) -> Path:
        """The first part of the initial file system: the modules and scripts of the start."""
        return self.home / "initramfs"

    @property
    def build(self) -> Path:
        """The tree to build modules in, fit for use where it is."""
        return self.tree / "usr/src" / f"linux-headers-{self.release}"

    @property
    def debug(self) -> Path:
        """The kernel with debugging information, there after :func:`add_debug`.

        It is no part of what a machine sees as its own: tests do not depend on it.
        """
        return self.home / "debug/usr/lib/debug/boot" / f"vmlinux-{self.release}"


def cache_directory() -> Path:
    """Where kernels are kept."""
    return Path(os.environ.get("PYSTAP_LAB_CACHE", "~/.cache/pystap-lab")).expanduser()


def get(name: str) -> Kernel:
    """The kernel of a name, fetched first unless the cache has it.  Raises :class:`LabError`."""
    suite, _, package = _KNOWN.get(name, name).partition("/")
    if not re.fullmatch(r"[a-z][a-z0-9-]*", suite) or "/" in package:
        raise LabError(f"no kernel is called '{name}': 6.1, 6.12, a suite or SUITE/PACKAGE")
    home = cache_directory() / name.replace("/", "+")
    home.mkdir(parents=True, exist_ok=True)
    with _locked(home):
        release = _release_of(home)
        if release is None:
            release = _fetch(home, suite, package or _ARCHIVE)
        return Kernel(name, release, home)


def add_debug(kernel: Kernel) -> Path:
    """The kernel with debugging information, fetched unless it is there (large: several GB pass
    through, 0.6 stay).  Raises :class:`LabError`."""
    with _locked(kernel.home):
        if not kernel.debug.exists():
            suite = _KNOWN.get(kernel.name, kernel.name).partition("/")[0]
            apt = _Apt(kernel.home, suite)
            (kernel.home / "debug").mkdir(exist_ok=True)
            for package in apt.download([f"linux-image-{kernel.release}-dbg"]):
                file = f"./usr/lib/debug/boot/vmlinux-{kernel.release}"
                _unpack(package, kernel.home / "debug", [file])
            apt.clean()
    return kernel.debug


def add_compiler(kernel: Kernel) -> Path | None:
    """A directory for PATH with make and the compiler that a kernel's headers ask for, fetched
    from the kernel's suite unless it is there; None where this machine has that compiler.

    Both see the suite's files over this machine's: programs of this one run with a newer C
    library as well.  Raises :class:`LabError`.
    """
    named = _COMPILER.search((kernel.build / ".kernelvariables").read_text())
    if named is None or shutil.which(named[0]):
        return None
    home = kernel.home / "compiler"
    with _locked(kernel.home):
        if not home.exists():
            made = kernel.home / "compiler.new"
            shutil.rmtree(made, ignore_errors=True)
            made.mkdir()
            apt = _Apt(kernel.home, _KNOWN.get(kernel.name, kernel.name).partition("/")[0])
            for package in apt.download_all(named[0]):
                _unpack(package, made)
            apt.clean()
            for program in ("make", named[0]):
                wrapper = made / program
                wrapper.write_text(_OVER.format(files=home / "usr", program=program))
                wrapper.chmod(0o755)
            made.rename(home)
    return home


def facts(kernel: Kernel) -> Path:
    """A directory with what the running kernel tells of itself in /sys/kernel: its types as
    ``btf/vmlinux`` and its ``notes``."""
    home = kernel.home / "facts"
    with _locked(kernel.home):
        if not home.exists():
            made = kernel.home / "facts.new"
            (made / "btf").mkdir(parents=True, exist_ok=True)
            for section, name in ((".BTF", "btf/vmlinux"), (".notes", "notes")):
                words = ["-O", "binary", "--only-section", section, str(kernel.vmlinux)]
                _run("objcopy", *words, str(made / name))
            made.rename(home)
    return home


@contextmanager
def _locked(home: Path) -> Iterator[None]:
    with (home / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _release_of(home: Path) -> str | None:
    """The release that was unpacked completely, if one was."""
    try:
        layout, release = (home / "release").read_text().split()
    except (FileNotFoundError, ValueError):
        return None
    return release if layout == _LAYOUT else None


def _fetch(home: Path, suite: str, package: str) -> str:
    """Fill a directory with a kernel; its release."""
    apt = _Apt(home, suite)
    named = apt.dependency(package, r"linux-image-\S+") or package
    release = named.removeprefix("linux-image-").removesuffix("-unsigned")
    headers = f"linux-headers-{release}"
    packages = [named, *apt.dependencies(headers, r"linux-(?:headers|kbuild)-\S+"), headers]
    # newer packages of an image hold nothing themselves
    packages += apt.dependencies(named, r"linux-(?:base|binary|modules)-\d\S+")
    tree = home / "tree"
    shutil.rmtree(tree, ignore_errors=True)
    for directory in _MERGED:
        (tree / "usr" / directory).mkdir(parents=True)
        (tree / directory).symlink_to(f"usr/{directory}")
    for file in apt.download(packages):
        _unpack(file, tree)
    _run("depmod", "-b", str(tree), release)
    for directory in _MERGED:  # else they would hide those of the machine
        (tree / directory).unlink()
    _relocate(tree, release)
    kernel = Kernel("", release, home)
    modules = tree / "usr/lib/modules" / release
    places = tree / "boot" / f"vmlinuz-{release}", modules / "vmlinuz"
    compressed = next((place for place in places if place.exists()), None)
    if compressed is None:
        raise LabError(f"the packages {', '.join(packages)} have no kernel in them")
    image.write_vmlinux(compressed, kernel.vmlinux)
    image.write_initramfs(modules, kernel.initramfs)
    apt.clean()
    (home / "release").write_text(f"{_LAYOUT} {release}\n")
    return release


def _relocate(tree: Path, release: str) -> None:
    """Make the header tree usable where it is: its makefiles name others by absolute path."""
    build = tree / "usr/src" / f"linux-headers-{release}"
    for makefile in (build / "Makefile", build / ".kernelvariables"):
        if makefile.exists():
            text = makefile.read_text()
            makefile.write_text(re.sub(r"(?<![\w/])/usr/(src|lib)/", rf"{tree}/usr/\1/", text))


class _Apt:
    """apt-get with package lists of one suite and a state of its own, below a directory."""

    def __init__(self, home: Path, suite: str) -> None:
        self._home = home / "apt"
        for directory in ("lists/partial", "archives/partial", "debs"):
            (self._home / directory).mkdir(parents=True, exist_ok=True)
        mirror = os.environ.get("PYSTAP_LAB_MIRROR", "http://deb.debian.org").rstrip("/")
        signed = f"deb [arch=amd64 signed-by={_KEYRING}] {mirror}"
        lines = [f"{signed}/debian {suite} main"]
        if suite not in ("sid", "unstable", "experimental"):
            lines.append(f"{signed}/debian-security {suite}-security main")
        sources = self._home / "sources.list"
        sources.write_text("\n".join(lines) + "\n")
        settings = {
            "Dir::State": self._home, "Dir::State::lists": self._home / "lists",
            "Dir::State::status": "/dev/null", "Dir::Cache": self._home,
            "Dir::Etc::sourcelist": sources, "Dir::Etc::sourceparts": "/dev/null",
            "APT::Architecture": "amd64", "APT::Architectures": "amd64",
            "APT::Sandbox::User": "root", "Acquire::Languages": "none",
        }  # fmt: skip
        self._options = [word for k, v in settings.items() for word in ("-o", f"{k}={v}")]
        _run("apt-get", *self._options, "-qq", "update", "--error-on=any")

    def dependencies(self, package: str, pattern: str) -> list[str]:
        """What a package depends on, of names that match."""
        out = _run("apt-cache", *self._options, "depends", package)
        return re.findall(rf"^ *Depends: ({pattern})$", out, re.MULTILINE)

    def dependency(self, package: str, pattern: str) -> str | None:
        """The first of them."""
        return next(iter(self.dependencies(package, pattern)), None)

    def download(self, packages: Sequence[str]) -> list[Path]:
        """Files of packages."""
        _run("apt-get", *self._options, "-qq", "download", *packages, cwd=self._home / "debs")
        return sorted((self._home / "debs").glob("*.deb"))

    def download_all(self, package: str) -> list[Path]:
        """The files of a package and of all that it needs, as if nothing were installed."""
        words = ["-qq", "--yes", "--no-install-recommends", "--download-only", "install", package]
        _run("apt-get", *self._options, *words)
        return sorted((self._home / "archives").glob("*.deb"))

    def clean(self) -> None:
        """Remove package lists and packages."""
        shutil.rmtree(self._home)


def _unpack(package: Path, tree: Path, members: Sequence[str] = ()) -> None:
    """Unpack a package, or only some of its files."""
    once = ["--occurrence=1", *members] if members else []
    read = ["dpkg-deb", "--fsys-tarfile", str(package)]
    write = ["tar", "-x", "--no-same-owner", "--keep-directory-symlink", "-C", str(tree), *once]
    with subprocess.Popen(read, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as reader:
        status = subprocess.run(write, stdin=reader.stdout, check=False).returncode
        assert reader.stdout is not None
        reader.stdout.close()  # ends a reader that tar did not hear out
    if status or (reader.returncode and not members):
        raise LabError(f"cannot unpack {package}")


def _run(*words: str, cwd: Path | None = None) -> str:
    """Output of a command.  Raises :class:`LabError`."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    environment = {**os.environ, "PATH": path, "LC_ALL": "C"}
    try:
        done = subprocess.run(
            words, cwd=cwd, env=environment, capture_output=True, text=True, check=False
        )
    except FileNotFoundError as error:
        raise LabError(f"{words[0]} is missing: 'make setup' installs what is needed") from error
    if done.returncode:
        raise LabError(f"'{' '.join(words)}' failed:\n{done.stdout}{done.stderr}")
    return done.stdout
