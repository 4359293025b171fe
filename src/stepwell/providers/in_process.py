"""The base class of providers that work in this process."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from stepwell.contract.enums import ProviderType, TaskType
from stepwell.ports.providers import Attempt, AttemptIO


class InProcess(ABC):
    """Implements `ports.providers.InProcessProvider`, without credentials or models, except for `run`."""

    type: ProviderType
    needs_credential = False

    @abstractmethod
    def capabilities(self, task_type: TaskType, /) -> frozenset[str] | None:
        """See the port."""

    @abstractmethod
    async def run(self, attempt: Attempt, io: AttemptIO, /) -> dict[str, Any]:
        """See the port."""

    def model(self, task_type: TaskType, _provider_config: Mapping[str, Any], /) -> str:
        return task_type
