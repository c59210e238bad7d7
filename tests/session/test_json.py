"""Metrics in JSON, with their description."""

from __future__ import annotations

import json

from stap import stap

SCRIPT = r"""
global reads
probe begin {
  json_set_prefix("demo")
  json_add_numeric_metric("total", "all \"reads\"", "count")
  json_add_string_metric("host", "where")
  json_add_array("by_name", "reads of programs")
  json_add_array_numeric_metric("by_name", "count", "how many", "count")
  json_add_array_string_metric("by_name", "kind", "what kind")
  reads["cat"] = 3
  reads["say \"hi\""] = 5
  system("cd /run/pystap/" . module_name() . "; cat metadata.json data.json data.json stop")
}
probe json_data {
  @json_output_data_start
  @json_output_numeric_value("total", 8)
  @json_output_string_value("host", "here\\there")
  foreach (name in reads) {
    @json_output_array_numeric_value("by_name", name, "count", reads[name])
    @json_output_array_string_value("by_name", name, "kind", "plain")
  }
  @json_output_data_end
}
probe procfs("stop").read { exit() }
"""


def test_values_and_their_description() -> None:
    done = stap("-e", SCRIPT)
    assert (done.err, done.status) == ("", 0)
    metadata, data, again = (json.loads(line) for line in done.out.splitlines())
    assert metadata["prefix"] == "demo"
    assert [(m["name"], m["type"]) for m in metadata["metrics"]] == [
        ("total", "integer"),
        ("host", "string"),
        ("by_name", "array"),
    ]
    assert metadata["metrics"][0]["description"] == 'all "reads"'
    assert [m["name"] for m in metadata["metrics"][2]["metrics"]] == ["count", "kind"]
    assert data == again
    assert (data["total"], data["host"]) == (8, "here\\there")
    rows = {row["__id"]: (row["count"], row["kind"]) for row in data["by_name"]}
    assert rows == {"cat": (3, "plain"), 'say "hi"': (5, "plain")}
