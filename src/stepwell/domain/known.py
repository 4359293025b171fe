"""What of a step is known before anything runs."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from stepwell.domain.model import TaskType


class KnownStep(Struct, frozen=True):
    """A step as its definition tells it. `provider_config` is that of the provider which is asked, be it the fallback.
    `inputs` are without nulls, and of known kinds; `open` names those of which nothing can be said here: they are
    mapped from results of other steps, are refused already, or stand in defaults too big to look through.
    """

    task_type: TaskType
    provider_config: Mapping[str, Any]
    inputs: Mapping[str, Any]
    open: frozenset[str] = frozenset()

    def has(self, name: str) -> bool:
        """Whether it will have that input."""
        return name in self.inputs or name in self.open
