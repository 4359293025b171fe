"""The results that the mappings of one step read, decoded when a mapping needs them."""

from collections.abc import Mapping
from typing import Any

from msgspec import json

from stepwell.definition.mapping.work_budget import WorkBudget

# Decoded results are kept for the next mapping up to this size. As Python objects they take up to 25 times as much.
_KEPT_BYTES = 4 * 1024 * 1024


class StepResults:
    """Encoded results by step id. The decoding is charged to the *budget*."""

    def __init__(self, encoded: Mapping[str, bytes | memoryview], budget: WorkBudget) -> None:
        self._encoded, self._budget = encoded, budget
        self._decoded: dict[str, Any] = {}
        self._kept_bytes = 0

    def get(self, step_id: str) -> Any:
        """Return the decoded result of the step; None if it has none. Raises `WorkExceeded`."""
        if step_id in self._decoded:
            return self._decoded[step_id]
        if (encoded := self._encoded.get(step_id)) is None:
            return None
        data = bytes(encoded)
        self._budget.spend_parse(data)
        if self._kept_bytes + len(data) > _KEPT_BYTES:
            self._decoded.clear()
            self._kept_bytes = 0
        value = self._decoded[step_id] = json.decode(data)
        self._kept_bytes += len(data)
        return value
