"""A process that runs the service until nothing is left, or until a step kills it."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

from stepwell.ports.providers import Attempt, AttemptIO
from support.providers.configured_by_steps import ConfiguredProvider
from support.service.live_service import running_service


class _PoisonedProvider(ConfiguredProvider):
    """Kills its process with each attempt at a step of the id "poison"."""

    async def run(self, attempt: Attempt, io: AttemptIO) -> dict[str, Any]:
        if attempt.step_id == "poison":
            os.kill(os.getpid(), signal.SIGKILL)
        return await super().run(attempt, io)


def live_poisoned(dsn: str, folder: Path, calm_s: float) -> None:
    """Run the service until all workflows have ended. *calm_s* is the life before a trial begins."""

    async def run() -> None:
        async with running_service(dsn, folder, providers=[_PoisonedProvider()], wait_for_claims=False) as service:
            ownership = service.app.engine.ownership
            ownership.trials.calm_s = calm_s
            await ownership.caught_up.wait()
            while service.app.engine.scheduler.workflows:
                await asyncio.sleep(0.05)

    asyncio.run(run())
