"""The report of ``-t``: how often probes were hit, and how long their handlers took."""

from __future__ import annotations

from pystap.typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pystap.typing import Protocol

    class Named(Protocol):
        """A probe as the report names it: its point, its place, the points it comes from."""

        @property
        def point(self) -> str: ...
        @property
        def origin(self) -> str: ...
        @property
        def derivation(self) -> Sequence[str]: ...


class Times(NamedTuple):
    """Runs of one piece of code: how many, and what is known of the time each took.

    ``m2`` is the sum of the squared deviations from ``mean``.
    """

    hits: int
    total: int
    least: int
    most: int
    mean: int
    m2: int

    def scaled(self, factor: int, divisor: int) -> Times:
        """The same in another unit of time."""
        total, least, most, mean = (v * factor // divisor for v in self[1:5])
        return Times(self.hits, total, least, most, mean, self.m2 * factor**2 // divisor**2)

    def text(self, unit: str) -> str:
        """``hits: N, UNIT: Amin/Bavg/Cmax, variance: V``."""
        spread = self.m2 // (self.hits - 1) if self.hits > 1 else 0
        return (
            f"hits: {self.hits}, {unit}: {self.least}min/{self.total // self.hits}avg/"
            f"{self.most}max, variance: {spread}"
        )


def times_of(runs: Sequence[int]) -> Times:
    """What is known of runs that took these times each."""
    if not runs:
        return Times(0, 0, 0, 0, 0, 0)
    total = sum(runs)
    mean = total // len(runs)
    spread = sum((time - mean) ** 2 for time in runs)
    return Times(len(runs), total, min(runs), max(runs), mean, spread)


def merge(parts: Iterable[Times]) -> Times:
    """What several CPUs saw, together."""
    whole = times_of([])
    for part in parts:
        if not part.hits:
            continue
        if not whole.hits:
            whole = part
            continue
        hits = whole.hits + part.hits
        apart = part.mean - whole.mean
        whole = Times(
            hits,
            whole.total + part.total,
            min(whole.least, part.least),
            max(whole.most, part.most),
            whole.mean + apart * part.hits // hits,
            whole.m2 + part.m2 + apart * apart * whole.hits * part.hits // hits,
        )
    return whole


def hit_report(
    probes: Sequence[Named],
    times: Sequence[Times],
    unit: str,
    start: Times | None,
    contention: Iterable[tuple[str, int]],
) -> str:
    """The whole report.

    ``times`` are those of each probe in ``unit``, which is "hits" when only they were counted;
    ``start`` is the start of the session, ``contention`` how often the lock of each global was
    not free.
    """
    lines = ["----- probe hit report: "]
    for index, (probe, time) in enumerate(zip(probes, times)):
        if time.hits:
            text = f"hits: {time.hits}" if unit == "hits" else time.text(unit)
            chain = "".join(f" from: {point}" for point in probe.derivation)
            lines.append(
                f"{probe.point}, ({probe.origin}), {text},{chain}"
                f"{',' if chain else ''} index: {index}"
            )
    if unit != "hits":
        lines += ["----- refresh report:", "----- module init report:"]
        if start is not None:
            lines.append(start.text(unit))
    lines += [
        f"'{name}' lock contention occurred {count} times" for name, count in contention if count
    ]
    return "\n".join(lines) + "\n"
