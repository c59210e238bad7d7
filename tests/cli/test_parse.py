"""The command line: what it sets and what it refuses."""

from __future__ import annotations

import pytest

from pystap.cli.parse import EarlyExit, UsageError, parse


def test_script_and_arguments() -> None:
    options = parse(["-v", "-e", "probe never {}", "--", "a", "-b"])
    assert options.script == "probe never {}"
    assert options.args == ["a", "-b"]
    assert options.verbose == [1, 1, 1, 1, 1]


def test_file_and_arguments() -> None:
    options = parse(["-gw", "file.stp", "x", "--", "-v"])
    assert (options.guru, options.suppress_warnings) == (True, True)
    assert (options.script_file, options.args) == ("file.stp", ["x", "-v"])


def test_options_behind_the_script(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["file.stp", "x", "-c", "ls -l", "y", "--disable-cache"]
    options = parse(words)
    assert (options.script_file, options.args) == ("file.stp", ["x", "y"])
    assert (options.cmd, options.disable_cache) == ("ls -l", True)
    monkeypatch.setenv("POSIXLY_CORRECT", "1")
    options = parse(words)
    assert (options.args, options.cmd) == (words[1:], None)


def test_option_values_attached_or_not() -> None:
    assert parse(["-T5", "-e", "x"]).timeout == 5
    assert parse(["-T", "0.5", "-e", "x"]).timeout == 0.5
    assert parse(["--vp=001", "-e", "x"]).verbose == [0, 0, 1, 0, 0]
    assert parse(["--vp", "00002", "-e", "x"]).verbose == [0, 0, 0, 0, 2]


def test_long_options_may_be_shortened() -> None:
    assert parse(["--disable", "-e", "x"]).disable_cache


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "A script must be specified."),
        (["-p", "6", "-e", "x"], "Invalid pass number (should be 1-5)."),
        (["-e", "x", "-e", "y"], "Only one script can be given on the command line."),
        (["-c", "ls", "-x", "1", "-e", "x"], "You can't specify both -c CMD and -x PID."),
        (["-x", "abc", "-e", "x"], "Invalid target process ID number."),
        (["-T", "-1", "-e", "x"], "Invalid -T argument '-1': it should be a number of seconds."),
        (["-D", "1x", "-e", "x"], "Invalid -D argument '1x': it should be NAME or NAME=VALUE."),
        (["-G", "x", "-e", "x"], "Invalid -G argument 'x': it should be VAR=VALUE."),
        (["-Z"], "invalid option -- 'Z'"),
        (["-T"], "option requires an argument -- 'T'"),
        (["--no-such"], "unrecognized option '--no-such'"),
        (["--dump"], "option '--dump' is ambiguous"),
        (["--remote", "h"], "option --remote is not supported"),
        (["-l", "x", "-L", "y"], "Only one of -l, -L and the --dump options can be given."),
        (["--suppress-time-limits", "-e", "x"], "--suppress-time-limits needs guru mode"),
        (["-c", "", "-e", "x"], "-c CMD must not be empty."),
    ],
)
def test_refusals(argv: list[str], message: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse(argv)
    assert str(refused.value).startswith(message)


@pytest.mark.parametrize("argv", [["-h"], ["--help"], ["-V"], ["--clean-cache"]])
def test_requests(argv: list[str]) -> None:
    with pytest.raises(EarlyExit):
        parse(argv)
