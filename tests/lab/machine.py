"""Starting a machine, running one command in it as root, and hearing how that went."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from . import complaints
from .image import GUEST, Archive
from .kernels import Kernel, LabError

TIMED_OUT, DIED, COMPLAINED = 124, 125, 126
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# No address randomisation and no mitigations: they cost a start of the emulated machine seconds.
# The first oops ends the machine; slow emulation is no lock-up and no defect of the timer.
_COMMAND_LINE = (
    "console=ttyS0 quiet loglevel=5 nokaslr mitigations=off tsc=reliable no_timer_check"
    " random.trust_cpu=on selinux=0 apparmor=0 panic=-1 oops=panic watchdog_thresh=30"
    " rcupdate.rcu_cpu_stall_timeout=120"
)
_CONSOLE_TAIL = 60  # lines of the console that an error shows


@dataclass(frozen=True)
class Settings:
    """How a machine is made: ``seconds`` it may take at most, ``memory`` as QEMU has it, how many
    ``cpus``, directories ``shared`` for writing, the command's ``environment`` and ``directory``,
    more words for the kernel's command line.  With ``counting`` its clock goes by instructions,
    one a nanosecond, so that what something takes does not depend on how busy this machine is."""

    seconds: float = 600
    memory: str = "2G"
    cpus: int = 2
    shared: Sequence[Path] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    directory: Path = field(default_factory=Path.cwd)
    append: str = ""
    counting: bool = False


@dataclass(frozen=True)
class Ending:
    """How a run ended: ``status`` of the command (None: there is none), whether time ran out,
    what was written to the console, which lines of it are complaints of the kernel."""

    status: int | None
    timed_out: bool
    console: str
    complaints: Sequence[str]

    @property
    def exit_status(self) -> int:
        """The command's, or one for what went wrong otherwise."""
        if self.status is None:
            return TIMED_OUT if self.timed_out else DIED
        return self.status or (COMPLAINED if self.complaints else 0)

    def trouble(self) -> str:
        """What went wrong other than by the command itself, in words; empty when nothing did."""
        if self.timed_out:
            head = "the machine did not end in time"
        elif self.complaints:
            head = "the kernel complained"
        elif self.status is None:
            head = "the machine ended before the command did"
        else:
            return ""
        tail = "\n".join(self.console.splitlines()[-_CONSOLE_TAIL:])
        return f"{head}; its console:\n{tail}"


class Machine:
    """A running machine; :meth:`wait` for its end or :meth:`kill` it."""

    def __init__(
        self, kernel: Kernel, command: Sequence[str], settings: Settings, out: int, err: int
    ) -> None:
        """Start it; the command's output goes to the descriptors ``out`` and ``err``.

        Raises :class:`LabError`.
        """
        self._work = Path(tempfile.mkdtemp(prefix="pystap-lab-"))
        self._deadline = time.monotonic() + settings.seconds
        try:
            initramfs = self._work / "initramfs"
            initramfs.write_bytes(kernel.initramfs.read_bytes() + _archive(command, settings))
            self._process = _start(kernel, settings, self._work, out, err)
        except FileNotFoundError as error:
            self._clean()
            raise LabError(
                f"{error.filename} is missing: 'make setup' installs what is needed"
            ) from error
        except BaseException:
            self._clean()
            raise

    def running(self) -> bool:
        """Whether it has neither ended nor used up its time."""
        return self._process.poll() is None and time.monotonic() < self._deadline

    def wait(self) -> Ending:
        """Wait for its end, until its time is up."""
        timed_out = False
        try:
            self._process.wait(max(self._deadline - time.monotonic(), 0))
        except subprocess.TimeoutExpired:
            timed_out = True
        finally:
            self._stop()
        status = self._read("status").strip()
        console = self._read("console")
        self._clean()
        return Ending(
            int(status) if status else None,
            timed_out,
            console,
            complaints.find(console.splitlines()),
        )

    def kill(self) -> None:
        """End it now."""
        self._stop()
        self._clean()

    def _stop(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()

    def _read(self, name: str) -> str:
        file = self._work / name
        return file.read_text(errors="replace") if file.exists() else ""

    def _clean(self) -> None:
        shutil.rmtree(self._work, ignore_errors=True)


def run(
    kernel: Kernel, command: Sequence[str], settings: Settings, out: int = 1, err: int = 2
) -> Ending:
    """Run a command in a machine; its output goes to descriptors.  Raises :class:`LabError`."""
    machine = Machine(kernel, command, settings, out, err)
    try:
        return machine.wait()
    except BaseException:
        machine.kill()
        raise


def _archive(command: Sequence[str], settings: Settings) -> bytes:
    """The part of the initial file system that is this run's own."""
    shared = " ".join(str(path.absolute()) for path in settings.shared)
    environment = {
        "PATH": f"{os.environ.get('PATH', '')}:{_SYSTEM_PATH}",
        "HOME": os.environ.get("HOME", "/root"),
        "LANG": os.environ.get("LANG", "C.UTF-8"),
        **settings.environment,
    }
    lines = [f"export {name}={shlex.quote(value)}" for name, value in environment.items()]
    lines += [
        f"cd {shlex.quote(str(settings.directory))} || exit",
        "ulimit -c 0",
        f"exec {shlex.join(command)}",
    ]
    archive = Archive()
    archive.file("settings", f"SHARED={shlex.quote(shared)}\n".encode(), 0o644)
    archive.file("command", ("\n".join(lines) + "\n").encode(), 0o644)
    for name in ("init", "start"):
        archive.file(name, (GUEST / name).read_bytes())
    return archive.finish()


def _start(
    kernel: Kernel, settings: Settings, work: Path, out: int, err: int
) -> subprocess.Popen[bytes]:
    own = os.dup(out), os.dup(err)  # the emulator does not take standard streams by number
    try:
        words = _qemu(kernel, settings, work, *own)
        return subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=err, stderr=err, pass_fds=own
        )
    finally:
        for descriptor in own:
            os.close(descriptor)


def _qemu(kernel: Kernel, settings: Settings, work: Path, out: int, err: int) -> list[str]:
    """The command line of the emulator, which dies with this process."""
    words = [
        "setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64",
        # One thread for all CPUs: with more, a kernel was seen to panic while it changed code
        # that another CPU ran.
        "-accel", "tcg,thread=single,tb-size=512", "-machine", "q35", "-cpu", "max,la57=off",
        "-smp", str(settings.cpus), "-m", settings.memory,
        "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-kernel", str(kernel.vmlinux), "-initrd", str(work / "initramfs"),
        "-append", f"{_COMMAND_LINE} {settings.append}",
        "-chardev", f"file,id=console,path={work}/console", "-serial", "chardev:console",
        "-device", "virtio-rng-pci",
        *_export("host", Path("/"), writable=False),
        *_export("tree", kernel.tree, writable=False),
    ]  # fmt: skip
    for number, path in enumerate(settings.shared):
        words += _export(f"shared{number}", path.absolute(), writable=True)
    if settings.counting:
        words += ["-icount", "shift=0"]
    words += ["-device", "virtio-serial-pci"]
    for number, (name, descriptor) in enumerate((("out", out), ("err", err)), 1):
        words += ["-add-fd", f"fd={descriptor},set={number}"]
        words += _port(name, f"/dev/fdset/{number},append=on")
    return words + _port("status", str(work / "status"))


def _export(tag: str, path: Path, writable: bool) -> list[str]:
    """A directory that the machine can mount."""
    access = "" if writable else ",readonly=on"
    options = f"local,id={tag},path={path},security_model=none,multidevs=remap{access}"
    return ["-fsdev", options, "-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}"]


def _port(name: str, path: str) -> list[str]:
    """A file that the machine can write to by a name."""
    return [
        "-chardev", f"file,id={name},path={path}",
        "-device", f"virtserialport,chardev={name},name={name}",
    ]  # fmt: skip
