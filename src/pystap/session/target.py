"""The target process: the command of ``-c``, started but held until all probes are in place."""

from __future__ import annotations

import os

_SHELL_CHARACTERS = frozenset("|&;<>()$`*?[]#~=%!{}\n")  # outside of quotes
_ACTIVE_IN_DOUBLE_QUOTES = frozenset("$`")
_KILL_AFTER = 2.0  # seconds the command has to end after SIGTERM


class TargetError(Exception):
    """The command cannot be started; the message says why."""


class Command:
    """A child process that runs ``-c CMD``.

    It is forked at once (so its pid is known) and executes the command on :meth:`release`.  If
    this process dies before, the child sees the pipe close and ends without running anything.
    """

    __slots__ = ("_hold", "pid", "status")

    def __init__(self, command: str) -> None:
        """Fork; raises :class:`TargetError` when the program cannot be found."""
        argv = split(command)
        read_end, self._hold = os.pipe()
        self.status: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            _child(argv, read_end)
        os.close(read_end)

    def release(self) -> None:
        """Let the command run."""
        if self._hold >= 0:
            os.write(self._hold, b"g")
            os.close(self._hold)
            self._hold = -1

    def poll(self) -> bool:
        """True when the command has ended; its wait status is then in ``status``."""
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = status
        return self.status is not None

    def finish(self) -> None:
        """End the command if it still runs: SIGTERM, and SIGKILL two seconds later."""
        if self.status is not None:
            return
        if self._hold >= 0:  # never released: closing the pipe ends it
            os.close(self._hold)
            self._hold = -1
            self.status = os.waitpid(self.pid, 0)[1]
            return
        import time

        os.kill(self.pid, 15)
        deadline = time.monotonic() + _KILL_AFTER
        while not self.poll():
            if time.monotonic() > deadline:
                os.kill(self.pid, 9)
                self.status = os.waitpid(self.pid, 0)[1]
                return
            time.sleep(0.005)

    def complaint(self) -> str | None:
        """What to warn about how the command ended, or None when it ended with status 0."""
        status = self.status
        if not status:
            return None
        if os.WIFSIGNALED(status):
            number = os.WTERMSIG(status)
            return f"Child process exited with signal {number} ({_signal_name(number)})"
        return f"Child process exited with status {os.WEXITSTATUS(status)}"


def check_pid(pid: int) -> None:
    """Raise :class:`TargetError` unless ``-x PID`` names a running process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        raise TargetError(f"there is no process {pid} to be the target (-x)") from None
    except PermissionError:
        pass  # it exists; observing it needs no permission to signal it


def split(command: str) -> list[str]:
    """The words to execute: those of the command, or a shell's where it takes a shell.

    Without a shell in between, target() is the process of the command itself.
    """
    if _needs_shell(command):
        return ["/bin/sh", "-c", command]
    import shlex

    try:
        argv = shlex.split(command)
    except ValueError as error:
        raise TargetError(f"the command of -c cannot be read: {error}") from None
    if not argv:
        raise TargetError("the command of -c is empty")
    path = find_program(argv[0])
    if path is None:
        raise TargetError(f"command not found: {argv[0]}")
    return [path, *argv[1:]]


def _needs_shell(command: str) -> bool:
    """Whether there is anything in it that only a shell understands."""
    quote = ""
    words = iter(command)
    for character in words:
        if character == "\\" and quote != "'":
            next(words, "")
        elif quote:
            if character == quote:
                quote = ""
            elif quote == '"' and character in _ACTIVE_IN_DOUBLE_QUOTES:
                return True
        elif character in "'\"":
            quote = character
        elif character in _SHELL_CHARACTERS:
            return True
    return False


def find_program(name: str) -> str | None:
    """The executable file a shell would run for ``name``, or None."""
    if "/" in name:
        candidates = [name]
    else:
        directories = os.environ.get("PATH", "/usr/local/bin:/usr/bin:/bin").split(":")
        candidates = [os.path.join(d or ".", name) for d in directories]
    for path in candidates:
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return None


def _child(argv: list[str], read_end: int) -> None:
    """Wait for the release, then become the command.  Never returns."""
    import signal

    status = 127
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        os.closerange(3, read_end)  # the pipe's other end above all
        os.closerange(read_end + 1, 65536)
        if os.read(read_end, 1):
            os.execv(argv[0], argv)
    except OSError as error:
        os.write(2, f"ERROR: cannot run {argv[0]}: {error.strerror}\n".encode())
    finally:
        os._exit(status)


def _signal_name(number: int) -> str:
    import signal

    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"
