"""Programs as trees of text, which can be cut down without knowing the language."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass
class Node:
    """A piece of a program: its text is that of its parts, one after the other.

    ``kind`` is ``long`` or ``string`` for an expression, ``stmt`` for a statement, ``block`` for
    statements in braces, ``item`` for what stands at the top level, ``program`` for all.
    """

    kind: str
    parts: list[str | Node] = field(default_factory=list)

    def __str__(self) -> str:
        return "".join(map(str, self.parts))

    def nodes(self) -> Iterator[Node]:
        """This node and all below it, from the outside in."""
        yield self
        for part in self.parts:
            if isinstance(part, Node):
                yield from part.nodes()

    def children(self) -> list[Node]:
        """The nodes among the parts."""
        return [part for part in self.parts if isinstance(part, Node)]


def node(kind: str, *parts: str | Node) -> Node:
    """A node of these parts."""
    return Node(kind, list(parts))


def joined(separator: str, nodes: list[Node]) -> list[str | Node]:
    """Nodes with a text between them, as parts of another."""
    parts: list[str | Node] = []
    for index, each in enumerate(nodes):
        if index:
            parts.append(separator)
        parts.append(each)
    return parts


def text_of(program: Node) -> str:
    """The script, indented by its braces."""
    lines: list[str] = []
    depth = 0
    for line in str(program).split("\n"):
        stripped = line.strip()
        if not stripped:
            continue
        before = depth - 1 if stripped.startswith("}") else depth
        lines.append("  " * before + stripped)
        depth += stripped.endswith("{") - stripped.startswith("}")
    return "\n".join(lines) + "\n"
