"""How much of one model may be asked for at once, and how often: the operator's word."""

from typing import Annotated

from msgspec import Meta, Struct

ANY_MODEL = "*"


class ModelLimit(Struct, frozen=True, forbid_unknown_fields=True):
    """Attempts at once, and starts a minute, of one model of a provider; null is no limit."""

    concurrency: Annotated[int, Meta(ge=1, le=100_000)] | None = None
    per_minute: Annotated[float, Meta(gt=0, le=1_000_000)] | None = None
