"""Requests of other processes: only some are served at once."""

import asyncio
from pathlib import Path
from uuid import UUID, uuid4

from msgspec import Raw

from stepwell.basics.tenancy import EVERY_TENANT, TenantScope
from stepwell.engine.execution.command_receiver import MOST_REQUESTS, CommandReceiver
from stepwell.engine.execution.workflow_access import VerbApplier
from stepwell.lifecycle.peer_commands import Command, CommandRequest, ExplainRequest, OwnerRequest
from stepwell.lifecycle.preconditions import Preconditions
from stepwell.testing import MemoryDatabase
from support.providers.scripted import Hang, ScriptedProvider, eventually, scripted_step
from support.service.live_service import Service, running_service


class SlowResults:
    """Serves requests once it may, and counts those that it serves at once."""

    def __init__(self) -> None:
        self.may_serve = asyncio.Event()
        self.serving = self.most_serving = 0

    async def serve(self, _scope: TenantScope, _id: UUID, _request: OwnerRequest, _preconditions: Preconditions) -> Raw:
        self.serving += 1
        self.most_serving = max(self.most_serving, self.serving)
        await self.may_serve.wait()
        self.serving -= 1
        return Raw(b"{}")


def receiver_of(service: Service, results: SlowResults) -> CommandReceiver:
    """A receiver with these results, instead of the service's own."""
    app, services = service.app, service.app.services
    app.background.command_receiver.closed = True
    applier = VerbApplier(services.workflows.access, services.admission, services.idempotency)
    return CommandReceiver(
        app.stores.database.commands,
        app.engine.coordination,
        applier,
        services.cleanups,
        results.serve,
    )


async def test_many_requests_are_served_a_few_at_once_and_all_in_the_end(
    memory: MemoryDatabase, tmp_path: Path
) -> None:
    provider, results = ScriptedProvider(default=Hang()), SlowResults()
    async with (
        running_service(memory, tmp_path, providers=[provider], exclusive=False, grace_s=1) as one,
        running_service(memory, tmp_path, providers=[provider], exclusive=False, grace_s=1) as other,
    ):
        created = await one.create(scripted_step("a"))
        await eventually(lambda: bool(provider.calls))
        receiver, requester = receiver_of(one, results), other.app.process.owner
        commands = other.app.stores.database.commands
        ids = [uuid4() for _ in range(3 * MOST_REQUESTS)]
        for each in ids:
            request = CommandRequest(ExplainRequest(), EVERY_TENANT)
            assert await commands.send(EVERY_TENANT, requester, Command(each, UUID(created["id"]), request))
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            running = group.create_task(receiver.run(), name="receiver")
            receiver.command_sent()
            await eventually(lambda: results.serving == MOST_REQUESTS)
            results.may_serve.set()
            for each in ids:
                while (await commands.poll(requester, each)).outcome is None:
                    receiver.command_sent()  # as the notification of a poll
            running.cancel()
        assert results.most_serving == MOST_REQUESTS
        provider.release("a")
