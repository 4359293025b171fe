"""Types of fields that several answers share."""

from datetime import datetime
from typing import Annotated

from msgspec import Meta, Raw

Time = Annotated[datetime, Meta(tz=True)]

# A decimal number of any size, as JSON. A float would round it.
ExactNumber = Annotated[Raw, Meta(extra_json_schema={"type": "number"})]
RawObject = Annotated[Raw, Meta(extra_json_schema={"type": "object"})]
