"""The command ``stap-prep``: ``stap-prep [--json] [--root DIR] [RELEASE]``."""

from __future__ import annotations

import os
import sys

from pystap.typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from typing import NoReturn

    from pystap.prep.findings import Finding, Verdict
    from pystap.prep.machine import Machine

_USAGE: Final = "usage: stap-prep [--json] [--root DIR] [RELEASE]"
_HELP: Final = f"""{_USAGE}
Check whether a machine is ready for stap: what works, what is missing, what to do about it.

  RELEASE      another kernel than the running one: judged by its files, not tried
  --root DIR   look at the system installed below DIR
  --json       the same for programs
  -h, -V       this text; the version

The exit status is 0 if scripts can be run in the kernel, 1 if not.
"""
_INDENT: Final = " " * 11
_UNDER: Final = " " * 12


def main(words: list[str]) -> int:
    """Check a machine and print the result; the exit status."""
    from getopt import GetoptError, gnu_getopt

    from pystap.prep.machine import Machine, UnknownReleaseError

    try:
        options, rest = gnu_getopt(words, "hV", ["help", "version", "json", "root="])
        values = dict(options)
        if "-h" in values or "--help" in values:
            sys.stdout.write(_HELP)
            return 0
        if "-V" in values or "--version" in values:
            from pystap import __version__

            sys.stdout.write(f"pystap stap-prep {__version__}\n")
            return 0
        if len(rest) > 1:
            raise GetoptError("more than one RELEASE")
        root = values.get("--root", "")
        if root and not os.path.isdir(root):
            raise GetoptError(f"'{root}' is not a directory")
        machine = Machine(root, rest[0] if rest else "")
    except (GetoptError, UnknownReleaseError) as problem:
        sys.stderr.write(f"stap-prep: {problem}\n{_USAGE}\n")
        return 1
    return report(machine, as_json="--json" in values)


def report(machine: Machine, as_json: bool) -> int:
    """Print what was found; the exit status."""
    from pystap.prep.findings import is_ready, verdicts

    findings = check(machine)
    judged = verdicts(findings)
    ready = is_ready(judged)
    text = _json(machine, findings, judged, ready) if as_json else _text(machine, findings, judged)
    sys.stdout.write(text)
    return 0 if ready else 1


def check(machine: Machine) -> list[Finding]:
    """Everything that is found about a machine."""
    from pystap.prep.debug import debug_findings
    from pystap.prep.ebpf import ebpf_findings
    from pystap.prep.modules import module_findings
    from pystap.prep.system import system_findings

    return [
        *system_findings(machine),
        *ebpf_findings(machine),
        *module_findings(machine),
        *debug_findings(machine),
    ]


def _text(machine: Machine, findings: list[Finding], judged: list[Verdict]) -> str:
    where = "running" if machine.live else "not running here"
    lines = [f"kernel {machine.release} ({machine.machine}, {where}), {machine.distribution.name}"]
    width = max(len(f.name) for f in findings)
    group = ""
    for finding in findings:
        if finding.group != group:
            group = finding.group
            lines += ["", group]
        lines.append(f"  {finding.state:<8} {finding.name:<{width}}  {finding.text}")
        if finding.todo and finding.state != "ok":
            lines.append(f"{_INDENT}{'':<{width}}  -> {finding.todo}")
    lines += ["", "runtimes"]
    for verdict in judged:
        lines += _verdict(verdict)
    return "\n".join(lines) + "\n"


def _verdict(verdict: Verdict) -> list[str]:
    name = f"{verdict.runtime:<9}"
    if not verdict.ready:
        return [f"  {name} not ready: {', '.join(verdict.missing)}"]
    lines = [f"  {name} ready"]
    if verdict.loses:
        lines[0] += ", without:"
        lines += [f"{_UNDER}{what}" for what in verdict.loses]
    return lines


def _json(machine: Machine, findings: list[Finding], judged: list[Verdict], ready: bool) -> str:
    import json

    from pystap.prep.findings import Finding, Verdict

    document = {
        "kernel": machine.release,
        "machine": machine.machine,
        "running": machine.live,
        "distribution": machine.distribution.id,
        "findings": [dict(zip(Finding._fields, finding)) for finding in findings],
        "runtimes": [dict(zip(Verdict._fields, verdict)) for verdict in judged],
        "ready": ready,
    }
    return json.dumps(document, indent=2) + "\n"


def command() -> NoReturn:
    """The process."""
    status = main(sys.argv[1:])
    try:
        sys.stdout.flush()
    except OSError:  # nobody reads it
        status = status or 1
    os._exit(status)
