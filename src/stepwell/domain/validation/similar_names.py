"""Finds the known names that a mistyped name may mean."""

from collections.abc import Iterable, Iterator
from functools import lru_cache


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
    place = 0
    while place < len(first) and first[place] == second[place]:
        place += 1
    if len(first) < len(second):
        return first[place:] == second[place + 1 :]
    if first[place + 1 :] == second[place + 1 :]:
        return first != second
    return first[place : place + 2] == second[place : place + 2][::-1] and first[place + 2 :] == second[place + 2 :]
