"""Emulators of providers for tests of whole processes, with the settings that a process needs to use them."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stepwell.contract.enums import ProviderType
from support.emulators.base import Fault
from support.providers.emulated import REMOTE, World, world_of

Kinds = tuple[ProviderType, ...]


class Worlds:
    """Emulators of several providers, which answer from a thread: the test may wait for processes meanwhile."""

    def __init__(self, found: list[World]) -> None:
        self.found = found

    def __iter__(self) -> Iterator[World]:
        return iter(self.found)

    @property
    def environment(self) -> dict[str, str]:
        return {name: value for world in self for name, value in world.environment.items()}

    def always(self, kind: str, fault: Fault | None) -> None:
        for world in self:
            world.emulator.always(kind, fault)

    def hold(self, *, held: bool = True) -> None:
        for world in self:
            world.hold(held=held)

    def have_taken(self, jobs: int) -> bool:
        """True once each provider has accepted so many jobs."""
        return all(len(world.emulator.ledger.jobs()) >= jobs for world in self)


@contextmanager
def emulated(folder: Path, wanted: Kinds = REMOTE) -> Iterator[Worlds]:
    """Run an emulator of each provider in *wanted*, all of them in one event loop in a thread of its own."""
    loop, entered, leave = asyncio.new_event_loop(), threading.Event(), asyncio.Event()
    worlds: list[World] = []

    async def run(kinds: Kinds) -> None:
        if not kinds:
            entered.set()
            await leave.wait()
            return
        async with world_of(kinds[0], folder / kinds[0]) as world:
            worlds.append(world)
            await run(kinds[1:])

    thread = threading.Thread(target=loop.run_until_complete, args=(run(wanted),))
    thread.start()
    assert entered.wait(10)
    try:
        yield Worlds(worlds)
    finally:
        loop.call_soon_threadsafe(leave.set)
        thread.join(10)
        loop.close()
