"""Names that a misspelled one may mean."""

from collections.abc import Iterable

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


def _is_similar(one: str, other: str) -> bool:
    if one == other:
        return True
    if abs(len(one) - len(other)) > 1:
        return False
    start = next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    rest, other_rest = one[start:], other[start:]
    return (
        rest[1:] == other_rest[1:]
        or rest[1:] == other_rest
        or rest == other_rest[1:]
        or (rest[:2] == other_rest[1::-1] and rest[2:] == other_rest[2:])
    )
