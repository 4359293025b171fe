"""Questions of other processes: only some are answered at once."""

import asyncio
from pathlib import Path
from uuid import UUID, uuid4

from msgspec import Raw

from stepwell.basics.tenancy import EVERY_TENANT, TenantScope
from stepwell.engine.execution.command_receiver import MOST_QUESTIONS, CommandReceiver
from stepwell.engine.execution.workflow_access import VerbApplier
from stepwell.lifecycle.peer_commands import Command, CommandRequest, ExplainQuestion, Question
from stepwell.lifecycle.preconditions import Preconditions
from stepwell.testing import MemoryDatabase
from support.providers.scripted import Hang, ScriptedProvider, eventually, scripted_step
from support.service.live_service import Service, running_service


class SlowAnswers:
    """Answers questions once they may be answered, and counts those that it is asked at once."""

    def __init__(self) -> None:
        self.may_answer = asyncio.Event()
        self.asked = self.most_asked = 0

    async def answer(self, _scope: TenantScope, _id: UUID, _question: Question, _preconditions: Preconditions) -> Raw:
        self.asked += 1
        self.most_asked = max(self.most_asked, self.asked)
        await self.may_answer.wait()
        self.asked -= 1
        return Raw(b"{}")


def receiver_of(service: Service, answers: SlowAnswers) -> CommandReceiver:
    """A receiver with these answers, instead of the service's own."""
    app, services = service.app, service.app.services
    app.background.command_receiver.closed = True
    applier = VerbApplier(services.workflows.access, services.admission, services.idempotency)
    return CommandReceiver(
        app.stores.database.commands,
        app.engine.coordination,
        applier,
        services.cleanups,
        answers.answer,
    )


async def test_many_questions_are_answered_a_few_at_once_and_all_in_the_end(
    memory: MemoryDatabase, tmp_path: Path
) -> None:
    provider, answers = ScriptedProvider(default=Hang()), SlowAnswers()
    async with (
        running_service(memory, tmp_path, providers=[provider], exclusive=False, grace_s=1) as one,
        running_service(memory, tmp_path, providers=[provider], exclusive=False, grace_s=1) as other,
    ):
        created = await one.create(scripted_step("a"))
        await eventually(lambda: bool(provider.calls))
        receiver, requester = receiver_of(one, answers), other.app.process.owner
        commands = other.app.stores.database.commands
        ids = [uuid4() for _ in range(3 * MOST_QUESTIONS)]
        for each in ids:
            request = CommandRequest(ExplainQuestion(), EVERY_TENANT)
            assert await commands.send(EVERY_TENANT, requester, Command(each, UUID(created["id"]), request))
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            running = group.create_task(receiver.run(), name="receiver")
            receiver.command_sent()
            await eventually(lambda: answers.asked == MOST_QUESTIONS)
            answers.may_answer.set()
            for each in ids:
                while (await commands.poll(requester, each)).outcome is None:
                    receiver.command_sent()  # as the notification of a poll
            running.cancel()
        assert answers.most_asked == MOST_QUESTIONS
        provider.release("a")
