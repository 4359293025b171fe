"""A bound on the work of expressions, counted in units and not in seconds, so that the same input ends the same way.

One unit is about one visit of a JMESPath node: 0.2 to 0.4 microseconds. Work in C costs less for
each element, and is charged in proportion.

What must hold:
- Work is charged before it is done, so that neither time nor memory runs away between two charges.
- Whoever charges in proportion to a size pays for the measurement of that size, too.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import json

# For all mappings of one step together. About a second.
MAX_STEP_WORK = 2_000_000
# For all mappings of one workflow that are too heavy for the event loop. About a minute.
MAX_WORKFLOW_WORK = 100 * MAX_STEP_WORK

_ELEMENTS = 4  # elements that C code copies, compares or checks for one unit
_VALUES = 2  # values that a JSON parser makes for one unit
_NEW_CHARACTERS = 64  # characters of new texts for one unit: this bounds the memory of texts
_SHORT = 256  # bytes of JSON, which are charged as if they held many values
_READ_CHARACTERS = 1_024  # characters that are compared, copied or decoded for one unit
_ENCODED_CHARACTERS = 512  # characters that are encoded as JSON for one unit
# Decoded results are cached for the next mapping up to this size. As Python objects they take up to 25 times as much.
_CACHE_BYTES = 4 * 1024 * 1024


class WorkExceeded(Exception):
    """The work is over its budget. The text says how large the budget is."""


class WorkBudget:
    """A number of units of work. `spent` is what was charged so far."""

    __slots__ = ("limit", "spent")

    def __init__(self, limit: int) -> None:
        self.limit, self.spent = limit, 0

    def spend(self, units: int) -> None:
        """Charge *units*. Raises `WorkExceeded` if that exceeds the budget."""
        self.spent += units
        if self.spent > self.limit:
            raise WorkExceeded(f"takes more work than the limit of {self.limit:,} visits and elements")

    def spend_elements(self, count: int) -> None:
        """Charge for *count* elements that C code copies, compares or checks."""
        self.spend(count // _ELEMENTS + 1)

    def spend_new_text(self, characters: int) -> None:
        """Charge for a new text of that length."""
        self.spend(characters // _NEW_CHARACTERS + 1)

    def spend_read_text(self, characters: int) -> None:
        """Charge for a text of that length that is read or compared."""
        self.spend(characters // _READ_CHARACTERS + 1)

    def spend_encode(self, size: int) -> None:
        """Charge for the encoding of a value of that *size*."""
        self.spend(size // _ENCODED_CHARACTERS)

    def spend_parse(self, data: bytes) -> int:
        """Charge for the decoding of *data*, JSON, and return the units."""
        if len(data) <= _SHORT:  # hot path: no count is worth its time
            self.spend(units := len(data) // 8 + 1)
            return units
        self.spend(units := len(data) // _READ_CHARACTERS + 1)
        self.spend(values := (data.count(b",") + data.count(b"[") + data.count(b"{")) // _VALUES)
        return units + values

    def spend_value(self, value: Any) -> int:
        """Charge for code that goes through all of *value*, and return about how many bytes it takes as JSON.

        A part that *value* contains twice counts twice. Doesn't recurse.
        """
        if isinstance(value, str):  # hot path, like the next one
            self.spend_read_text(len(value))
            return len(value) + 2
        if not isinstance(value, (dict, list, tuple)):
            self.spend(1)
            return 4
        size, texts, stack = 0, 0, list[Any]([value])
        while stack:
            part = stack.pop()
            if isinstance(part, str):  # the list or object was charged one unit for it; the rest is charged at the end
                size += len(part) + 2
                texts += len(part) // _READ_CHARACTERS + 1
            elif isinstance(part, dict):
                keys = sum(map(len, part))
                self.spend(len(part) + keys // _READ_CHARACTERS + 1)
                size += keys + 4 * len(part) + 2
                stack += part.values()
            elif isinstance(part, (list, tuple)):
                self.spend(len(part) + 1)
                size += len(part) + 2
                stack += part
            else:
                size += 4
        self.spend(texts)
        return size


class StepResults:
    """Encoded results by step id. The decoding is charged to the *budget*."""

    def __init__(self, encoded: Mapping[str, bytes | memoryview], budget: WorkBudget) -> None:
        self._encoded, self._budget = encoded, budget
        self._decoded: dict[str, Any] = {}
        self._cached_bytes = 0

    def get(self, step_id: str) -> Any:
        """Return the decoded result of the step; None if it has none. Raises `WorkExceeded`."""
        if step_id in self._decoded:
            return self._decoded[step_id]
        if (encoded := self._encoded.get(step_id)) is None:
            return None
        data = bytes(encoded)
        self._budget.spend_parse(data)
        if self._cached_bytes + len(data) > _CACHE_BYTES:
            self._decoded.clear()
            self._cached_bytes = 0
        value = self._decoded[step_id] = json.decode(data)
        self._cached_bytes += len(data)
        return value
