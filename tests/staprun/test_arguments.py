"""staprun's command line."""

from __future__ import annotations

import pytest

from pystap.staprun.arguments import ArgumentError, Wanted, parse
from pystap.staprun.main import main
from pystap.staprun.outputs import Rotation


def test_defaults() -> None:
    request = parse(["m.ko"])
    assert (request.module, request.action, request.parameters) == ("m.ko", "run", [])
    assert not any((request.leave, request.background, request.unique, request.quiet))


def test_options() -> None:
    request = parse(["-vvwRu", "-b8", "m"])
    assert (request.verbose, request.quiet, request.unique) == (2, True, True)
    words = ["-c", "ls -l", "-o", "file", "-S", "2,3", "-T", "200", "-D", "m.ko", "x=5", "s=a,b"]
    request = parse(words)
    assert (request.command, request.output, request.interval) == ("ls -l", "file", 0.2)
    assert request.rotation == Rotation(2 << 20, 3)
    assert request.background
    assert request.parameters == ["x=5", "s=a,b"]
    assert parse(["-b", "4095", "m", "x=1"]).parameters == ["stap_megabytes=4095", "x=1"]
    assert parse(["-A", "m"]).action == "attach"
    assert parse(["-d", "*"]).action == "delete"
    assert parse(["-S", "1", "-o", "f", "m"]).rotation == Rotation(1 << 20, 0)
    assert parse(["-x", "1", "m"]).target == 1
    assert parse(["m", "-L"]).leave


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "a module is needed"),
        ("-z m", "option -z not recognized"),
        ("-b", "option -b requires argument"),
        ("-b 0 m", "invalid argument '0' for -b (1 to 4095)"),
        ("-b 4096 m", "invalid argument '4096' for -b (1 to 4095)"),
        ("-b ten m", "invalid argument 'ten' for -b (1 to 4095)"),
        ("-x -3 m", "invalid argument '-3' for -x"),
        ("-S 1, -o f m", "invalid argument '' for -S"),
        ("-S 0 -o f m", "invalid argument '0' for -S"),
        ("-S 1 m", "-S needs an output file"),
        ("-D m", "-D needs an output file"),
        ("-L -D -o f m", "-D and -L do not go together"),
        ("-L -c ls m", "what is left alone (-L) has neither a command nor a time limit"),
        ("--time-limit soon m", "invalid argument 'soon' for --time-limit"),
        ("--time-limit nan m", "invalid argument 'nan' for --time-limit"),
        ("-L --time-limit 3 m", "what is left alone (-L) has neither"),
        ("-c ls -x 1 m", "-c and -x do not go together"),
        ("-A -d m", "only one of -A and -d"),
        ("-A m x=1", "what is loaded already takes neither"),
        ("-A -b 3 m", "what is loaded already takes neither"),
        ("-d -R m", "what is loaded already takes neither"),
        ("-A -x 1 m", "what is loaded already has its target"),
        ("-N 1 m", "functions of namespaces (-N) are not supported"),
        ("-M 1 m", "the monitor mode (-M) are not supported"),
        ("-r 1:x m", "remote sessions (-r) are not supported"),
        ("-C red m", "-C takes never, always or auto, not 'red'"),
        ("m x", "'x' should be VARIABLE=VALUE"),
        ("m =5", "'=5' should be VARIABLE=VALUE"),
        ("m x=a!", "the value of 'x' cannot hold"),
    ],
)
def test_refusals(words: str, message: str) -> None:
    with pytest.raises(ArgumentError) as error:
        parse(words.split())
    assert str(error.value).startswith(message)


def test_requests(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Wanted):
        parse(["-h"])
    assert main(["-V"]) == 0
    assert main(["-h"]) == 0
    assert main([]) == 1
    out, err = capfd.readouterr()
    assert "staprun of pystap" in out
    assert "Usage: staprun" in out
    assert err == "staprun: a module is needed\nTry 'staprun -h' for more information.\n"
