"""A step with all defaults applied, and the inputs of a step that are known before it runs."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from stepwell.contract.enums import ProviderType, TaskType


class ResolvedStep(Struct, frozen=True, kw_only=True, gc=False):
    """A step as the engine runs it: defaults applied at create, so that later settings don't change it.

    `depends_on` holds positions. `provider` is null only for PASSTHROUGH, which needs none.
    """

    position: int
    step_id: str
    task_type: TaskType
    depends_on: tuple[int, ...] = ()
    max_retries: int = 3
    timeout_s: float = 600.0
    provider: ProviderType | None = None
    fallback: ProviderType | None = None


class KnownStep(Struct, frozen=True):
    """A step as its definition tells it. `provider_config` is that of the provider which is asked, be it the fallback.
    `inputs` are without nulls, and of known kinds; `unresolved` names those of which nothing can be said here: they are
    mapped from results of other steps, are refused already, or stand in defaults too big to look through.
    """

    task_type: TaskType
    provider_config: Mapping[str, Any]
    inputs: Mapping[str, Any]
    unresolved: frozenset[str] = frozenset()

    def has(self, name: str) -> bool:
        """Whether it will have that input."""
        return name in self.inputs or name in self.unresolved
