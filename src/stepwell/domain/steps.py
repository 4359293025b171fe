"""A step with all defaults applied, and the inputs of a step that are known before it runs."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from stepwell.contract.enums import ProviderType, TaskType


class ResolvedStep(Struct, frozen=True, kw_only=True, gc=False):
    """A step as the engine runs it: defaults applied at create, so that later settings don't change it.

    `depends_on` holds positions. `provider` is None only for PASSTHROUGH, which needs none.
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
    """A step as far as its definition shows before it runs, for the checks of one provider.

    `provider_config` is that of this provider, which may be the fallback. `inputs` hold no None, and
    values of the right kind. `unresolved` names the inputs that are unknown until the step runs: they are mapped from
    results, invalid, or inherited from defaults too large to scan.
    """

    task_type: TaskType
    provider_config: Mapping[str, Any]
    inputs: Mapping[str, Any]
    unresolved: frozenset[str] = frozenset()

    def has(self, name: str) -> bool:
        """Return whether the step will have the input *name*."""
        return name in self.inputs or name in self.unresolved
