"""Waits for the database while it is away."""

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from anyio import sleep

from stepwell.domain.errors import Unavailable

T = TypeVar("T")

OUTAGE_RETRY_S: Final = 0.5  # between two tries


async def until_available(call: Callable[[], Awaitable[T]]) -> T:
    """Repeat *call* while the database is away."""
    while True:
        try:
            return await call()
        except Unavailable:
            await sleep(OUTAGE_RETRY_S)
