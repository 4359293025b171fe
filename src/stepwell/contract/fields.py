"""The descriptions of fields, and types that several responses share."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from msgspec import Meta, Raw


def about(description: str, *, default: str | None = None) -> Meta:
    """Describe a field for schemas and the manual. *default* is what the manual says instead of that in the code."""
    return Meta(description=description, extra=None if default is None else {"default": default})


Time = Annotated[datetime, Meta(tz=True)]

# The result of a step. The service holds it as JSON text (`msgspec.Raw`), a client has the value: a dictionary or None.
Result: TypeAlias = Annotated[Any, Meta(extra_json_schema={"anyOf": [{"type": "object"}, {"type": "null"}]})]

# A decimal number of any size, which a float would round. The service holds its JSON text, the client a `Decimal`.
if TYPE_CHECKING:
    ExactNumber: TypeAlias = Any
else:
    ExactNumber = Annotated[Raw, Meta(extra_json_schema={"type": "number"})]
