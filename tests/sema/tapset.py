"""The small library that sema's tests use in place of the real one."""

from __future__ import annotations

from pathlib import Path
from typing import Final

FILES: Final = {
    "context.stp": """
function pid:long () %{ pystap:pid %}
function tid:long () %{ pystap:tid %}
function execname:string () %{ pystap:execname %}
function strlen:long (s:string) %{ pystap:strlen %}
function random:long () %{ pystap:random %}
""",
    "session.stp": """
function exit () %{ pystap:exit %}
function error (msg:string) %{ pystap:error %}
probe oneshot = begin {} , { exit() }
""",
    "counter.stp": """
global counter_value = 5
private counter_hidden
function counter_next () { counter_hidden++ return counter_hidden + counter_value }
probe begin(-100) { counter_hidden = 1000 }
""",
    "lib.stp": """
probe lib.one = begin(1) { number = 1 name = "one" }
probe lib.two = begin(2) { number = 2 name = "two" extra = 7 }
probe lib.two.return = end(2) { number = 3 name = "two_r" }
probe lib.tail = timer { }
probe lib.epi += begin { println("after") }
probe lib.both = begin { println("before") } , { println("after") }
probe lib.gone = fake.nothing { }
probe lib.maybe = fake.nothing ?, begin(9) { }
probe lib.choice = fake.nothing !, begin(7) !, begin(8) { }
probe lib.deep = lib.one { deep = number + 1 }
function overloaded (a) { return 1 }
function overloaded (a, b) { return 2 }
function fallback:string (a:string) { return "library " . a }
""",
    "broken.stp": """
function broken_function () { return ( }
""",
    "defined.stpm": """
@define choose_defined(a, b) %( ( @defined(@a) ? @a : @b ) %)
@define twice(x) %( (2 * @x) %)
""",
}


def write(directory: Path) -> str:
    """Write the library into a directory; its path."""
    for name, text in FILES.items():
        (directory / name).write_text(text)
    return str(directory)
