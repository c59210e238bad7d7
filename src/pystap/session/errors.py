"""Words for what goes wrong in handlers and while loading."""

from __future__ import annotations

import errno

from pystap.session.memory import readable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pystap.backend.bpf.artifact import Artifact, MapSpec
    from pystap.ir.probe import Position
    from pystap.kernel.bpf import BpfError
    from pystap.output.records import ErrorItem
    from pystap.session.loader import LoadError

# The verifier's words for what only a smaller program can help.
_TOO_LARGE = (
    "program is too large",
    "is too complex",
    "combined stack size",
    "frames is too deep",
    "total number of maps",
    "too many subprogs",
)


def runtime_error(item: ErrorItem, artifact: Artifact) -> str:
    """``ERROR: MSG near TOKEN at PLACE (called from ...) in probe POINT`` for an error item."""
    text = f"ERROR: {_message(item, artifact)}"
    near = _position(artifact.positions, item.position)
    if near is None:
        return text
    text += f" near {near.text()}"
    for site in item.calls:
        caller = _position(artifact.positions, site)
        if caller is not None:
            text += f" (called from {caller.text()})"
    if item.probe < len(artifact.probes):
        text += f" in probe {artifact.probes[item.probe].point}"
    return text


def _message(item: ErrorItem, artifact: Artifact) -> str:
    """The message's text with its values put in."""
    from pystap.output.formatspec import parse_format
    from pystap.output.records import ERROR_TEXT
    from pystap.output.render import render

    if item.message == ERROR_TEXT:
        return item.text.decode("latin-1")
    message = artifact.messages[item.message]
    if "%" not in message:
        return message
    fmt = parse_format(message)
    numbers = iter(item.values)
    kinds = [d.conv for d in fmt.directives if d.conv]
    args = [item.text if kind == "s" else next(numbers, 0) for kind in kinds]
    return render(fmt, args).decode("latin-1")


def _position(positions: Sequence[Position], index: int) -> Position | None:
    return positions[index] if 0 <= index < len(positions) else None


def load_failure(failure: LoadError, artifact: Artifact, log_file: str) -> list[str]:
    """Lines that explain a refused map or program: whose fault, which probe, what to send."""
    error = failure.error
    if error.errno == errno.EMFILE:
        return too_many_files(failure.what, artifact)
    if failure.map is not None:
        return _no_map(failure.map, error)
    reason = _last_line(failure.log)
    too_large = error.errno == errno.E2BIG or any(words in reason for words in _TOO_LARGE)
    if too_large:
        lines = ["ERROR: a handler is too large for the kernel's verifier."]
    elif not failure.log:
        lines = [f"ERROR: cannot load {failure.what}: {error.strerror}"]
    else:
        lines = ["ERROR: the kernel's verifier refused a program that pystap generated."]
    for index in failure.probes[:3]:
        probe = artifact.probes[index]
        lines.append(f"        probe {probe.point} at {probe.origin}")
    if reason:
        lines.append(f"        verifier: {reason}")
    if too_large:
        lines.append("        Make it smaller: move parts of it to other probes, shorten its")
        lines.append("        expressions and loops, or lower -D MAXSTRINGLEN.")
    elif failure.log:
        lines.append("        This is a fault of pystap, not of the script. Please report it with")
        lines.append(f"        the script and the verifier's log in {log_file}")
    return lines


def too_many_files(what: str, artifact: Artifact) -> list[str]:
    """Lines for a limit of descriptors that could not be raised far enough."""
    from resource import RLIMIT_NOFILE, getrlimit

    needed = needed_files(artifact)
    return [
        f"ERROR: cannot load or attach {what}: too many open files.",
        f"        The script's {len(artifact.probes)} probes take up to {needed} descriptors; the"
        f" limit is {getrlimit(RLIMIT_NOFILE)[1]} (ulimit -Hn).",
    ]


def needed_files(artifact: Artifact) -> int:
    """How many descriptors programs and attachments take at most: a probe an event and a link."""
    return 2 * len(artifact.probes) + 2 * len(artifact.programs) + len(artifact.maps)


def _no_map(spec: MapSpec, error: BpfError) -> list[str]:
    """Lines for a map the kernel does not create."""
    kind, _, name = spec.role.partition(":")
    if not name or error.errno not in (errno.ENOMEM, errno.E2BIG, errno.EINVAL):
        return [f"ERROR: cannot create the map {spec.name}: {error.strerror}"]
    size = spec.max_entries * (spec.key_size + spec.value_size)
    what = "no memory to iterate over" if kind == "snapshot" else "no room for"
    code = errno.errorcode[error.errno]
    return [
        f"ERROR: the kernel has {what} the {spec.max_entries} elements of '{name}' "
        f"({readable(size)} and more; {code}).",
        f"        Give the array a smaller size (global {name}[SIZE]) or lower -D MAXMAPENTRIES.",
    ]


def _last_line(log: str) -> str:
    """The verifier's reason: the last line before its statistics."""
    skip = ("processed ", "verification time", "stack depth", "max_states")
    for line in reversed(log.splitlines()):
        text = line.strip()
        if text and not text.startswith(skip):
            return text
    return ""
