"""A provider that replaces LOCAL in a benchmark. Its work is to wait.

It is a plug-in, so it works wherever LOCAL would: in the service, and in a Celery worker.
"""

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import httpx

from stepwell.bench.loads import WAIT_S
from stepwell.contract.enums import ProviderType, TaskType
from stepwell.ports.providers import Attempt, AttemptIO, Provider
from stepwell.providers.in_process import InProcess
from stepwell.settings import Settings

_ENTRY_POINT = "[stepwell.providers]\nbench = stepwell.bench.waiting_provider:providers\n"


class WaitingProvider(InProcess):
    """Implements `InProcessProvider`. Each attempt takes `WAIT_S`."""

    type = ProviderType.LOCAL

    def capabilities(self, _task_type: TaskType, /) -> frozenset[str] | None:
        return frozenset()

    async def run(self, _attempt: Attempt, _io: AttemptIO, /) -> dict[str, Any]:
        await asyncio.sleep(WAIT_S)
        return {"waited_s": WAIT_S}


def providers(_settings: Settings, _client: httpx.AsyncClient) -> Iterable[Provider]:
    return [WaitingProvider()]


def install_plug_in(folder: Path) -> None:
    """Let processes that have *folder* on their PYTHONPATH use the provider."""
    metadata = folder / "stepwell_bench-1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: stepwell-bench\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text(_ENTRY_POINT)
