"""Aggregates: what ``<<<`` keeps and the extractors compute.

Every CPU accumulates on its own; reading merges them in order of CPU number.  Numbers are signed
64 bits and wrap.  The variance keeps a running mean and a sum of squared deviations of samples
shifted left by ``shift``::

    n += 1; delta = x - mean; mean += delta / n; m2 += delta * (x - mean)

and of two parts a and b with n = a.n + b.n samples it is merged as::

    delta = b.mean - a.mean; mean = a.mean + delta * b.n / n
    m2 = a.m2 + b.m2 + delta * (delta * a.n * b.n / n)

(or taken over as they are when a is empty), with divisions truncating toward zero.  ``@variance``
is ``(m2 / (n - 1)) >> (2 * shift)``, and 0 for a single sample.
"""

from __future__ import annotations

from collections.abc import Iterable

from pystap.backend.reference.longs import MAX, MIN, divide, wrap
from pystap.ir.types import StatSpec
from pystap.output.histogram import LOG_BUCKETS, linear_bucket, linear_buckets, log_bucket


class Aggregate:
    """Samples of one CPU, or the merged samples of several."""

    __slots__ = ("count", "linear", "log", "m2", "maximum", "mean", "minimum", "spec", "sum")

    def __init__(self, spec: StatSpec) -> None:
        self.spec = spec
        self.count = 0
        self.sum = 0
        self.minimum = MAX
        self.maximum = MIN
        self.mean = 0
        self.m2 = 0
        self.log = [0] * LOG_BUCKETS
        self.linear = [0] * linear_buckets(*spec.linear) if spec.linear else []

    def add(self, value: int) -> None:
        """Take one sample."""
        self.count += 1
        self.sum = wrap(self.sum + value)
        self.minimum = min(self.minimum, value)
        self.maximum = max(self.maximum, value)
        scaled = wrap(value << self.spec.shift)
        delta = wrap(scaled - self.mean)
        self.mean = wrap(self.mean + divide(delta, self.count))
        self.m2 = wrap(self.m2 + delta * wrap(scaled - self.mean))
        self.log[log_bucket(value)] += 1
        if self.spec.linear:
            self.linear[linear_bucket(value, *self.spec.linear)] += 1

    def merge(self, other: Aggregate) -> None:
        """Take the samples of another CPU."""
        if other.count == 0:
            return
        self._merge_deviation(other)
        self.count += other.count
        self.sum = wrap(self.sum + other.sum)
        self.minimum = min(self.minimum, other.minimum)
        self.maximum = max(self.maximum, other.maximum)
        self.log = [a + b for a, b in zip(self.log, other.log)]
        self.linear = [a + b for a, b in zip(self.linear, other.linear)]

    def _merge_deviation(self, other: Aggregate) -> None:
        if self.count == 0:
            self.mean, self.m2 = other.mean, other.m2
            return
        count = self.count + other.count
        delta = wrap(other.mean - self.mean)
        self.mean = wrap(self.mean + divide(wrap(delta * other.count), count))
        cross = divide(wrap(wrap(delta * self.count) * other.count), count)
        self.m2 = wrap(self.m2 + other.m2 + delta * cross)

    def variance(self) -> int:
        """Unbiased variance, truncated."""
        if self.count < 2:
            return 0
        return divide(self.m2, self.count - 1) >> (2 * self.spec.shift)

    def extract(self, op: str) -> int:
        """``count sum min max avg variance``; of an empty one only the first two."""
        match op:
            case "count":
                return self.count
            case "sum":
                return self.sum
            case "min":
                return self.minimum
            case "max":
                return self.maximum
            case "avg":
                return divide(self.sum, self.count)
            case _:
                return self.variance()

    def buckets(self, kind: str) -> list[int]:
        """The counts of a histogram, ``log`` or ``linear``."""
        return self.log if kind == "log" else self.linear


class PerCpuAggregate:
    """An aggregate global or element: one part a CPU."""

    __slots__ = ("parts", "spec")

    def __init__(self, spec: StatSpec) -> None:
        self.spec = spec
        self.parts: dict[int, Aggregate] = {}

    def add(self, cpu: int, value: int) -> None:
        """Take one sample on a CPU."""
        part = self.parts.get(cpu)
        if part is None:
            part = self.parts[cpu] = Aggregate(self.spec)
        part.add(value)

    def merged(self) -> Aggregate:
        """All samples together."""
        return merge((self.parts[cpu] for cpu in sorted(self.parts)), self.spec)


def merge(parts: Iterable[Aggregate], spec: StatSpec) -> Aggregate:
    """One aggregate of the samples of several."""
    whole = Aggregate(spec)
    for part in parts:
        whole.merge(part)
    return whole
