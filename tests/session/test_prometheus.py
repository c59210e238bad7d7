"""Metrics in the form that Prometheus reads."""

from __future__ import annotations

from stap import stap

SCRIPT = r"""
global calls, both
function doubled(number:long) { return 2 * number }
function marked(text:string) { return "<" . text . ">" }
function quoted(text:string) { return "\"" . text . "\"" }
probe begin {
  calls["x\"y\\z"] = 1
  calls["other"] = 2
  both[1, "q"] = 7
  system("cat /run/pystap/" . module_name() . "/__prometheus")
}
probe prometheus {
  @prometheus_dump_array1(calls, "calls", "name")
  @prometheus_dump_array1_map(calls, "mapped", "name", doubled, marked)
  @prometheus_dump_array1_map_unquoted(calls, "plain", "name", doubled, quoted)
  @prometheus_dump_array2(both, "both", "number", "text")
  exit()
}
"""


def test_arrays_become_metrics() -> None:
    done = stap("-e", SCRIPT)
    assert (done.err, done.status) == ("", 0)
    assert done.out.splitlines() == [
        r'calls{name="x\"y\\z"} 1',
        'calls{name="other"} 2',
        r'mapped{name="<x\"y\\z>"} 2',
        'mapped{name="<other>"} 4',
        'plain{name="' + r'x"y\z' + '"} 2',
        'plain{name="other"} 4',
        'both{number="1",text="q"} 7',
    ]
