"""Finds the known names that a misspelled name may mean.

Only the configs of a step compare case-sensitively, because a provider may have a member that differs in case alone.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache

_SHORTEST, _LONGEST = 4, 255  # of a shorter name, most others are one edit away


def similar_name(name: str, candidates: Iterable[str]) -> str | None:
    """Return the first candidate that differs from *name* by at most one edit, or only in case; None without one.

    An edit inserts, deletes or replaces a letter, or exchanges two neighbours. The time is linear in the candidates.
    """
    if not _SHORTEST <= len(name) <= _LONGEST:
        return None
    folded = name.casefold()
    return next((each for each in candidates if _is_similar(folded, each.casefold())), None)


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """Return the end of a message about the unknown *name*: "; did you mean …?", or "" if nothing is similar."""
    similar = similar_name(name, candidates)
    return "" if similar is None else f"; did you mean {similar}?"


class SimilarNames:
    """Known names, for comparison with mistyped ones. A comparison takes microseconds, whatever the name's length."""

    def __init__(self, names: Iterable[str]) -> None:
        self._by_length: dict[int, list[str]] = {}
        for name in sorted(names):
            self._by_length.setdefault(len(name), []).append(name)

    def of(self, name: str) -> list[str]:
        """Return the known names at edit distance 1 from *name*: one letter more, less or other, or two exchanged."""
        return [known for known in self._of_similar_length(name) if _is_one_edit(known, name)]

    def _of_similar_length(self, name: str) -> Iterator[str]:
        for length in (len(name), len(name) - 1, len(name) + 1):
            yield from self._by_length.get(length, ())


@lru_cache(maxsize=256)
def similar_names(names: frozenset[str]) -> SimilarNames:
    """Return the comparison for *names*, built once."""
    return SimilarNames(names)


def _is_one_edit(first: str, second: str) -> bool:
    """Return whether the names, whose lengths differ by at most 1, are exactly one edit apart."""
    if len(first) > len(second):
        first, second = second, first
    index = 0
    while index < len(first) and first[index] == second[index]:
        index += 1
    if len(first) < len(second):
        return first[index:] == second[index + 1 :]
    if first[index + 1 :] == second[index + 1 :]:
        return first != second
    return first[index : index + 2] == second[index : index + 2][::-1] and first[index + 2 :] == second[index + 2 :]


def _is_similar(first: str, second: str) -> bool:
    return first == second or (abs(len(first) - len(second)) <= 1 and _is_one_edit(first, second))
