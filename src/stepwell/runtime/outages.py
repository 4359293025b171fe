"""How the service waits for its database, or for another of its servers, while that is absent."""

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from anyio import sleep

from stepwell.basics.errors import Unavailable

T = TypeVar("T")

OUTAGE_RETRY_S: Final = 0.5
"""The seconds between two tries. The checkpoints alone have shorter ones at first, because steps wait for them."""


async def until_available(call: Callable[[], Awaitable[T]]) -> T:
    """Repeat *call* until it doesn't raise `Unavailable`: the database is back, or a child process is free."""
    while True:
        try:
            return await call()
        except Unavailable:
            await sleep(OUTAGE_RETRY_S)
