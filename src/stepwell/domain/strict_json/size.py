"""The size and depth of a value as JSON, measured without encoding it: mappings may repeat a long text many times."""

from collections.abc import Iterable
from typing import Any

MAX_RESULT_BYTES = 1024 * 1024
# Of results and of providers' answers. Python 3.11 has a stack of 1,000 frames; recursive code needs two a level.
MAX_LEVELS = 200


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


def is_deeper(value: Any, levels: int) -> bool:
    """Return whether lists and objects in *value* are nested more than *levels* deep. Doesn't recurse."""
    level = [value]
    for _ in range(levels):
        level = [inner for container in level for inner in _inside(container)]
        if not level:
            return False
    return any(isinstance(each, dict | list | tuple) for each in level)


def _inside(value: Any) -> Iterable[Any]:
    """Return the lists and objects in *value*, if it is a list or an object itself."""
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return (item for item in items if isinstance(item, dict | list | tuple))
