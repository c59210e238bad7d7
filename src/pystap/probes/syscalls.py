"""``syscall.NAME[.return]`` and ``syscall_any[.return]``.

``nd_syscall``, ``dw_syscall`` and the like are the same probes under other names.  A wildcard is
one match for all it stands for: its variables are worked out from the number of the call.
"""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from pystap.lang import ast
from pystap.probes.attach import SyscallEvent
from pystap.probes.base import Match, ProbeEnv, malformed
from pystap.probes.shapes import bad_point, has_wildcard
from pystap.probes.syscall_context import AnySyscallContext, SyscallContext
from pystap.probes.syscall_table import syscalls
from pystap.typing import Final, Literal

# Names of the same probes that tell how SystemTap would attach them.
ROOTS: Final = (
    "syscall", "dw_syscall", "nd_syscall", "nd1_syscall", "nd2_syscall", "tp_syscall",
)  # fmt: skip

# Other names under which a call is known; wildcards find them by their own names only.
SYNONYMS: Final = {"mmap2": "mmap"}

Edge = Literal["enter", "exit"]


class Syscalls:
    """System calls by name."""

    roots = (*ROOTS, "syscall_any")

    def resolve(self, point: ast.ProbePoint, env: ProbeEnv) -> list[Match]:  # noqa: ARG002
        """One match for everything that fits, entries and returns apart."""
        matches = []
        roots = [root for root in self.roots if fnmatchcase(root, point.components[0].name)]
        if "**" in (component.name for component in point.components):
            return self._resolve_all(point, roots)
        for root in roots:
            named = point.components[0:1] if root == "syscall_any" else point.components[0:2]
            edge = _edge(point, len(named), root)
            if root == "syscall_any":
                matches.append(_any_match(edge))
            elif len(named) < 2:
                raise malformed(point, point.tok, ["NAME"], ends=True)
            else:
                matches += _matches(root, named[1], edge)
        return matches

    def patterns(self) -> Iterable[str]:
        """NAME stands for the name of a call."""
        return [
            f"{name}{suffix}"
            for name in ("syscall_any", "syscall.NAME")
            for suffix in ("", ".return")
        ]

    def _resolve_all(self, point: ast.ProbePoint, roots: list[str]) -> list[Match]:
        """``syscall.**``: entries and returns of everything."""
        if len(point.components) != 2:
            raise bad_point("'**' must stand last in a syscall probe point", point.tok)
        star = ast.PointComponent(name="*", arg=None, tok=point.components[1].tok)
        edges: tuple[Edge, ...] = ("enter", "exit")
        return [match for root in roots for edge in edges for match in _matches(root, star, edge)]


def _edge(point: ast.ProbePoint, taken: int, root: str) -> Edge:
    """Whether the components after the name ask for entry or return."""
    for component in point.components:
        if component.arg is not None:
            raise bad_point(f"'{component.name}' takes no argument", component.tok)
    rest = point.components[taken:]
    if not rest:
        return "enter"
    if len(rest) == 1 and rest[0].name == "return":
        return "exit"
    followers = ["return"] if len(rest) == 1 or root == "syscall_any" else []
    raise malformed(point, rest[0].tok, followers)


def _matches(root: str, component: ast.PointComponent, edge: Edge) -> list[Match]:
    """The calls of one name, or of all names that a wildcard fits."""
    pattern = component.name
    wanted = SYNONYMS.get(pattern, pattern)
    if has_wildcard(wanted):
        calls = [call for call in syscalls() if fnmatchcase(call.point, wanted)]
    else:
        calls = [call for call in syscalls() if call.point == wanted]
    if not calls:
        if has_wildcard(wanted):
            return []
        raise _unknown(root, component)
    name = pattern if pattern in SYNONYMS else ""
    suffix = ".return" if edge == "exit" else ""
    points = [
        (f"{root}.{name or call.point}{suffix}", SyscallEvent(edge, (call.number,)))
        for call in sorted(calls, key=lambda call: (call.point, call.number))
    ]
    return [Match(list(points), SyscallContext(tuple(calls), edge, name))]


def _any_match(edge: Edge) -> Match:
    text = "syscall_any.return" if edge == "exit" else "syscall_any"
    return Match([(text, SyscallEvent(edge))], AnySyscallContext(edge))


def _unknown(root: str, component: ast.PointComponent) -> Exception:
    """No such call: near names, with the calls of 64-bit names explained."""
    from pystap.diag.suggest import suggest

    exact = [call for call in syscalls() if call.name == component.name]
    if exact:
        hint = f"it is called {root}.{exact[0].point}"
    else:
        near = suggest(component.name, sorted({call.point for call in syscalls()}))
        hint = f"did you mean {' or '.join(f'{root}.{name}' for name in near)}?" if near else ""
    return bad_point(f"no system call '{component.name}'", component.tok, hint=hint or None)


FAMILY: Final = Syscalls()
