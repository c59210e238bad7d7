"""Names that look like a misspelt one."""

from __future__ import annotations

from collections.abc import Iterable


def suggest(word: str, candidates: Iterable[str], limit: int = 5) -> list[str]:
    """The candidates nearest to ``word``, best first, at most ``limit``.

    Near means few insertions, deletions, substitutions or swaps of neighbours for the length of
    the word (a third of it, but one at least), letter case counting less; names of which the
    word is a beginning follow.  Names that are equal to ``word`` are left out.
    """
    if not word:
        return []
    bound = max(1, min(4, len(word) // 3 + (len(word) > 3)))
    lower = word.lower()
    letters = _letters(lower)
    found: list[tuple[int, int, str]] = []
    for name in dict.fromkeys(candidates):
        if name == word:
            continue
        other = name.lower()
        difference = len(other) - len(lower)
        # Each edit changes at most two of the letters the names do not share.
        if (
            -bound <= difference <= bound
            and (_letters(other) ^ letters).bit_count() <= 2 * bound
            and (distance := _distance(lower, other, bound)) <= bound
        ):
            found.append((distance, abs(difference), name))
            continue
        if len(word) > 2 and other.startswith(lower):
            found.append((bound + 1, difference, name))
    found.sort()
    return [name for _, _, name in found[:limit]]


def _letters(word: str) -> int:
    """The set of characters of a word as bits (several may share one)."""
    bits = 0
    for char in set(word):
        bits |= 1 << (ord(char) & 63)
    return bits


def _distance(a: str, b: str, bound: int) -> int:
    """Edit distance with swaps of neighbours; anything above ``bound`` when it is more."""
    before: list[int] = []
    previous = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        current = [i]
        append = current.append
        best = i
        for j, y in enumerate(b, 1):
            cost = previous[j - 1] + (x != y)
            if previous[j] < cost:
                cost = previous[j] + 1
            if current[j - 1] < cost:
                cost = current[j - 1] + 1
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y and before[j - 2] < cost:
                cost = before[j - 2] + 1
            append(cost)
            best = min(best, cost)
        if best > bound:
            return bound + 1
        before, previous = previous, current
    return previous[-1]
