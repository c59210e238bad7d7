"""``procfs("PATH").read`` and ``.write``: files that a session has, with handlers behind them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pystap.lang import ast
from pystap.probes.attach import ProcFile
from pystap.probes.base import Context, Match, ProbeEnv, unknown_variable
from pystap.probes.core import CoreIntrinsic
from pystap.probes.shapes import ShapeMatch, bad_point, match_shapes
from pystap.typing import Final

_HEADS: Final = tuple(
    f"{head}{umask}" for head in ("procfs", "procfs(string)") for umask in ("", ".umask(number)")
)
_SHAPES: Final = tuple(
    f"{head}.{tail}" for head in _HEADS for tail in ("read", "read.maxsize(number)", "write")
)
_DEFAULT_PATH: Final = "command"
_LARGEST: Final = 1 << 20  # bytes that a handler may put together for one read
_MODES: Final = 0o7777


class ProcFiles:
    """Probe points on files."""

    roots = ("procfs",)

    def resolve(self, point: ast.ProbePoint, env: ProbeEnv) -> list[Match]:  # noqa: ARG002
        """One match for each shape; raises for a path or number that makes no file."""
        return [_match(found, point) for found in match_shapes(point, _SHAPES)]

    def patterns(self) -> Iterable[str]:
        """The shapes themselves."""
        return _SHAPES


def _match(found: ShapeMatch, point: ast.ProbePoint) -> Match:
    args = found.by_name()
    path = args["procfs"]
    attach = ProcFile(
        _checked_path(str(path), point) if path is not None else _DEFAULT_PATH,
        "write" if "write" in args else "read",
        _number(args.get("maxsize"), "maxsize", 1, _LARGEST, point),
        _number(args.get("umask"), "umask", 0, _MODES, point),
    )
    return Match([(found.text(), attach)], FileContext(attach.edge == "write"))


def _checked_path(path: str, point: ast.ProbePoint) -> str:
    parts = path.split("/")
    if not path or "\0" in path or any(part in ("", ".", "..") for part in parts):
        raise bad_point(
            f"'{path}' is no path of a file below the session's directory",
            point.components[0].tok,
        )
    return path


def _number(
    value: int | str | None, what: str, least: int, most: int, point: ast.ProbePoint
) -> int:
    if value is None:
        return 0
    assert isinstance(value, int)  # the shape says so
    if not least <= value <= most:
        tok = next(c.tok for c in point.components if c.arg == value)
        raise bad_point(f"procfs {what} {value} is out of range ({least}..{most})", tok)
    return value


class FileContext(Context):
    """``$value``: what was written, or what is to be read."""

    registers = False
    in_session = True

    def __init__(self, is_write: bool) -> None:
        self._is_write = is_write
        self.share_key = ("procfs", is_write)  # what may be done with $value differs

    def resolve(self, var: ast.TargetVar) -> ast.Expr:
        """``$value``, a string."""
        self._check(var)
        return CoreIntrinsic(tok=var.tok, type="string", name="file_text")

    def assign(
        self, var: ast.TargetVar, op: str, value: Callable[[], ast.Expr]
    ) -> ast.Expr | None:
        """What ``$value = text`` and ``$value .= text`` do; None for what cannot be done."""
        self._check(var)
        if self._is_write or op not in ("=", ".="):
            return None
        name = "file_set" if op == "=" else "file_append"
        return CoreIntrinsic(tok=var.tok, type="long", name=name, args=[value()])

    def _check(self, var: ast.TargetVar) -> None:
        if var.name != "$value" or var.components or var.address_of:
            raise unknown_variable(var, ["$value"])

    def variables(self) -> list[tuple[str, str]]:
        """``$value``."""
        return [("$value", "char*")]


FAMILY: Final = ProcFiles()
