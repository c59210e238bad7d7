"""The held command of -c."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from pystap.session.target import Command, TargetError, check_pid, find_program, split


def test_does_not_run_before_its_release(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    command = Command(f"touch {mark}")
    time.sleep(0.1)
    assert not mark.exists()
    command.release()
    while not command.poll():
        time.sleep(0.01)
    assert mark.exists()
    assert command.complaint() is None


def test_shell_characters_go_through_the_shell(tmp_path: Path) -> None:
    command = Command(f"exit 3 > {tmp_path}/x")
    command.release()
    command_status(command)
    assert command.complaint() == "Child process exited with status 3"


@pytest.mark.parametrize(
    ("command", "argv"),
    [
        ("true", ["/usr/bin/true"]),
        ("true 'a b' c\\ d", ["/usr/bin/true", "a b", "c d"]),
        ('true "a;b" "it\'s"', ["/usr/bin/true", "a;b", "it's"]),
        ("true $HOME", ["/bin/sh", "-c", "true $HOME"]),
        ('true "$HOME"', ["/bin/sh", "-c", 'true "$HOME"']),
        ("true; true", ["/bin/sh", "-c", "true; true"]),
    ],
)
def test_a_shell_is_taken_only_where_it_takes_one(command: str, argv: list[str]) -> None:
    made = split(command)
    assert [os.path.basename(made[0]), *made[1:]] == [os.path.basename(argv[0]), *argv[1:]]


def test_signal_is_named() -> None:
    command = Command("kill -TERM $$")
    command.release()
    command_status(command)
    assert command.complaint() == "Child process exited with signal 15 (SIGTERM)"


def test_unreleased_command_is_ended_without_running(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    command = Command(f"touch {mark}")
    command.finish()
    assert not mark.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(command.pid, 0)


def test_running_command_is_ended() -> None:
    command = Command("sleep 100")
    command.release()
    time.sleep(0.1)
    command.finish()
    assert command.status is not None
    with pytest.raises(ProcessLookupError):
        os.kill(command.pid, 0)


def test_missing_program() -> None:
    with pytest.raises(TargetError, match="command not found: no-such-program"):
        Command("no-such-program -x")


def test_pid_that_is_not_there() -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    with pytest.raises(TargetError, match="no process"):
        check_pid(child.pid)


def test_programs_are_found_in_the_path() -> None:
    assert find_program("sh") is not None
    assert find_program("./no/such/file") is None


def command_status(command: Command) -> None:
    while not command.poll():
        time.sleep(0.01)
