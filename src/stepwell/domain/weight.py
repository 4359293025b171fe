"""How big a value would be as JSON, told without making that JSON: mappings may hold one text a hundred times."""

from typing import Any

MAX_RESULT_BYTES = 1024 * 1024


def is_heavier(value: Any, limit: int) -> bool:
    """Whether *value* takes more than about *limit* bytes as JSON. Looks no further than that; doesn't recurse."""
    rest, stack = limit, [value]
    while stack and rest >= 0:
        match stack.pop():
            case str() as text:
                rest -= len(text) + 2
            case dict() as members:
                rest -= sum(len(str(key)) + 4 for key in members) + 2
                stack += members.values()
            case list() | tuple() as items:
                rest -= len(items) + 2
                stack += items
            case _:
                rest -= 4
    return rest < 0
