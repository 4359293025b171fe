"""The descriptions of types, which stand in their `Meta`s."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal, get_args, get_origin

from msgspec import Meta


def metas_of(kind: Any) -> Iterator[Meta]:
    """Yield the `Meta`s of a type, the outermost first."""
    if get_origin(kind) is Annotated:
        yield from (meta for meta in reversed(kind.__metadata__) if isinstance(meta, Meta))
        yield from metas_of(kind.__origin__)
    elif get_origin(kind) is not Literal:
        for part in get_args(kind):
            yield from metas_of(part)


def description_of(kind: Any) -> str | None:
    """Return the outermost description of a type; None if it has none."""
    return next((meta.description for meta in metas_of(kind) if meta.description is not None), None)
