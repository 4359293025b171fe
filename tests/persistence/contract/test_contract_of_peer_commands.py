"""Commands: a verb that one process passes to another takes effect once, or is withdrawn and never does."""

from dataclasses import dataclass, field
from uuid import UUID, uuid4

import pytest

from stepwell.basics.errors import InvalidTransition, TooManyRequests
from stepwell.basics.idempotency import KeyClaim
from stepwell.basics.tenancy import EVERY_TENANT, TenantScope
from stepwell.contract.enums import WorkflowStatus
from stepwell.contract.workflows import WorkflowCleanupDetail
from stepwell.engine.execution.active_workflow import ActiveWorkflow
from stepwell.lifecycle.inputs import Pause
from stepwell.lifecycle.peer_commands import (
    Command,
    CommandMark,
    CommandRequest,
    CommandWithdrawn,
    VerbApplied,
    error_of,
    refusal_of,
)
from stepwell.lifecycle.preconditions import Version
from stepwell.ports.processes import COMMANDS_PER_WORKFLOW, CommandListener, CommandState
from support.database.stored_workflows import ME, OTHER, THIRD, Stored
from support.providers.scripted import eventually

T = TenantScope("t")
PAUSED = VerbApplied(changed=True)


def command_for(handle: ActiveWorkflow, claim: KeyClaim | None = None) -> Command:
    request = CommandRequest(Pause("alice"), T, frozenset({Version(2, 3)}))
    return Command(uuid4(), handle.workflow_id, request, claim)


async def sent_to_me(stored: Stored, claim: KeyClaim | None = None) -> tuple[ActiveWorkflow, Command]:
    """A workflow that ME runs, and the command of OTHER to pause it."""
    for owner in (ME, OTHER):
        await stored.leases.renew(owner, 60)
    handle = await stored.make()
    command = command_for(handle, claim)
    assert await stored.here.commands.send(T, OTHER, command)
    return handle, command


async def carry_out(stored: Stored, handle: ActiveWorkflow, command: Command) -> bool:
    """Write the effect of the command. Return whether it was written."""
    decision = stored.decide(handle, Pause("alice"))
    decision.commands = (CommandMark(command.id, PAUSED),)
    if command.claim is not None:
        decision.key_claims.append(command.claim)
    return await stored.workflow_store.write([decision]) == set()


async def status_of(stored: Stored, handle: ActiveWorkflow) -> WorkflowStatus:
    loaded = await stored.workflow_store.load(EVERY_TENANT, handle.workflow_id)
    assert loaded is not None
    return loaded.state.status


async def test_the_process_that_runs_the_workflow_reads_the_command_as_it_was_sent(stored: Stored) -> None:
    _, command = await sent_to_me(stored, None)
    assert await stored.here.commands.waiting(ME, (), 10) == [command]
    assert await stored.here.commands.waiting(ME, (command.id,), 10) == []
    assert await stored.here.commands.waiting(THIRD, (), 10) == []


async def test_an_effect_is_written_with_the_outcome_of_its_command(stored: Stored) -> None:
    handle, command = await sent_to_me(stored)
    assert await stored.here.commands.poll(OTHER, command.id) == CommandState(None, elsewhere=True)
    assert await carry_out(stored, handle, command)
    assert await stored.here.commands.waiting(ME, (), 10) == []
    state = await stored.here.commands.poll(OTHER, command.id)
    assert (state.outcome, await status_of(stored, handle)) == (PAUSED, WorkflowStatus.PAUSED)
    assert await stored.here.commands.withdraw(OTHER, command.id) == PAUSED


async def test_a_report_replaces_the_outcome_that_it_follows(stored: Stored) -> None:
    handle, command = await sent_to_me(stored)
    commands = stored.here.commands
    report = VerbApplied(changed=True, report=WorkflowCleanupDetail(2, 2, ["media/x/result.png"], []))
    await commands.report(command.id, report)
    assert (await commands.poll(OTHER, command.id)).outcome is None, "it has no outcome yet"
    await commands.store_outcome(command.id, handle.run.state.epoch, VerbApplied(changed=True, report_follows=True))
    for later in (report, PAUSED):
        await commands.report(command.id, later)
        assert (await commands.poll(OTHER, command.id)).outcome == report


async def test_a_withdrawn_command_has_no_effect(stored: Stored) -> None:
    handle, command = await sent_to_me(stored)
    for _ in range(2):  # the response to the first statement may get lost
        assert await stored.here.commands.withdraw(OTHER, command.id) == CommandWithdrawn()
    assert await stored.here.commands.waiting(ME, (), 10) == []
    assert not await carry_out(stored, handle, command)
    assert await status_of(stored, handle) is WorkflowStatus.RUNNING


async def test_a_withdrawn_command_keeps_no_other_workflow_of_its_batch_from_being_written(stored: Stored) -> None:
    handle, command = await sent_to_me(stored)
    other = await stored.make()
    await stored.here.commands.withdraw(OTHER, command.id)
    decision = stored.decide(handle, Pause("alice"))
    decision.commands = (CommandMark(command.id, PAUSED),)
    lost = await stored.workflow_store.write([decision, stored.decide(other, Pause("alice"))])
    assert lost == {handle.workflow_id}
    assert await status_of(stored, other) is WorkflowStatus.PAUSED


async def test_a_process_that_lost_the_workflow_neither_writes_the_effect_nor_the_outcome(stored: Stored) -> None:
    handle, command = await sent_to_me(stored)
    await stored.leases.renew(THIRD, 60)
    await stored.leases.renew(ME, -1)
    (loaded,) = await stored.claim(THIRD)
    assert not await carry_out(stored, handle, command)
    await stored.here.commands.store_outcome(command.id, handle.run.state.epoch, VerbApplied(changed=False))
    assert await stored.here.commands.waiting(ME, (), 10) == []
    assert await stored.here.commands.waiting(THIRD, (), 10) == [command]
    await stored.here.commands.store_outcome(command.id, loaded.state.epoch, VerbApplied(changed=False))
    assert (await stored.here.commands.poll(OTHER, command.id)).outcome == VerbApplied(changed=False)


async def test_an_effect_is_written_once_though_its_response_was_lost(stored: Stored) -> None:
    handle, command = await sent_to_me(stored)
    decision = stored.decide(handle, Pause("alice"))
    decision.commands = (CommandMark(command.id, PAUSED),)
    for _ in range(2):
        assert await stored.workflow_store.write([decision]) == set()
    assert (await stored.here.commands.poll(OTHER, command.id)).outcome == PAUSED


@pytest.mark.parametrize("taken", ["released", "taken over"])
async def test_a_command_without_its_idempotency_key_has_no_effect(stored: Stored, taken: str) -> None:
    for owner in (ME, OTHER):
        await stored.leases.renew(owner, 60)
    there = await stored.process(OTHER)
    state = await there.keys.claim(T, "k", UUID(int=1), b"f")
    handle, command = await sent_to_me(stored, state.claim)
    assert await stored.here.commands.waiting(ME, (), 10) == [command]
    if taken == "released":
        await there.keys.release([state.claim])
    else:
        await stored.leases.renew(OTHER, -1)
        assert (await stored.here.keys.claim(T, "k", UUID(int=2), b"f")).mine
    assert await stored.here.commands.waiting(ME, (), 10) == []
    assert not await carry_out(stored, handle, command)
    assert await status_of(stored, handle) is WorkflowStatus.RUNNING


async def test_an_effect_marks_the_idempotency_key_of_its_command(stored: Stored) -> None:
    await stored.leases.renew(OTHER, 60)
    there = await stored.process(OTHER)
    state = await there.keys.claim(T, "k", UUID(int=1), b"f")
    handle, command = await sent_to_me(stored, state.claim)
    assert await carry_out(stored, handle, command)
    assert (await there.keys.claim(T, "k", UUID(int=2), b"f")).applied_to == handle.workflow_id


async def test_nothing_is_sent_unless_another_live_process_runs_a_workflow_of_the_scope(stored: Stored) -> None:
    for owner in (ME, OTHER):
        await stored.leases.renew(owner, 60)
    mine, pending = await stored.make(owner=OTHER), await stored.make(owner=None)
    left = await stored.make(owner=THIRD)
    theirs = await stored.make(tenant="another")
    for handle in (mine, pending, left, theirs):
        assert not await stored.here.commands.send(T, OTHER, command_for(handle))
    assert await stored.here.commands.send(EVERY_TENANT, OTHER, command_for(theirs))
    own = await stored.make()
    for subject, is_sent in (("bob", False), ("alice", True)):
        of_subject = TenantScope("t", subject=subject)
        command = Command(uuid4(), own.workflow_id, CommandRequest(Pause(subject), of_subject))
        assert await stored.here.commands.send(of_subject, OTHER, command) == is_sent
        assert (command in await stored.here.commands.waiting(ME, (), 10)) == is_sent


async def test_the_recipient_reads_the_command_about_a_workflow_that_no_process_runs_any_more(stored: Stored) -> None:
    handle, command = await sent_to_me(stored)
    await stored.write(handle, Pause("alice"))
    assert handle.run.state.owner is None
    assert await stored.here.commands.waiting(ME, (), 10) == [command]
    assert await stored.here.commands.waiting(THIRD, (), 10) == []
    assert await stored.here.commands.poll(OTHER, command.id) == CommandState(None, elsewhere=False)


async def test_commands_that_wait_are_bounded(stored: Stored) -> None:
    handle, first = await sent_to_me(stored)
    for _ in range(COMMANDS_PER_WORKFLOW - 1):
        assert await stored.here.commands.send(T, OTHER, command_for(handle))
    with pytest.raises(TooManyRequests):
        await stored.here.commands.send(T, OTHER, command_for(handle))
    assert await stored.here.commands.withdraw(OTHER, first.id) == CommandWithdrawn()
    assert await stored.here.commands.send(T, OTHER, command_for(handle), [first.id])
    assert await stored.here.commands.withdraw(OTHER, first.id) is None  # it was deleted


async def test_both_sides_are_notified(stored: Stored) -> None:
    there = await stored.process(OTHER)
    here_heard, there_heard = Listener(), Listener()
    async with (
        stored.here.presence.watch(lambda: None, [here_heard]),
        there.presence.watch(lambda: None, [there_heard]),
    ):
        handle, command = await sent_to_me(stored)
        await eventually(lambda: here_heard.sent == 1)
        await there.commands.poll(OTHER, command.id)
        await eventually(lambda: here_heard.sent == 2, "the poll repeats the notification")
        assert await carry_out(stored, handle, command)
        await eventually(lambda: there_heard.ended == [command.id])
        another = command_for(handle)
        assert not await there.commands.send(T, OTHER, another)  # because a paused workflow has no owner
        assert (here_heard.ended, there_heard.sent) == ([], 0)


@dataclass
class Listener(CommandListener):
    """Counts notifications about commands."""

    sent: int = 0
    ended: list[UUID] = field(default_factory=list)

    def command_sent(self) -> None:
        self.sent += 1

    def command_ended(self, command_id: UUID) -> None:
        self.ended.append(command_id)


@pytest.mark.parametrize(
    "error",
    [
        InvalidTransition("pause", WorkflowStatus.FAILED, (WorkflowStatus.RUNNING,), "A hint."),
        InvalidTransition("pause", WorkflowStatus.FAILED, (), deleted=True),
        TooManyRequests("later", 7),
    ],
)
async def test_a_refusal_is_the_same_error_in_the_other_process(
    stored: Stored, error: InvalidTransition | TooManyRequests
) -> None:
    handle, command = await sent_to_me(stored)
    await stored.here.commands.store_outcome(command.id, handle.run.state.epoch, refusal_of(error))
    outcome = (await stored.here.commands.poll(OTHER, command.id)).outcome
    assert outcome == refusal_of(error)
    rebuilt = error_of(refusal_of(error))
    assert (type(rebuilt), str(rebuilt), vars(rebuilt)) == (type(error), str(error), vars(error))
