"""What processes on one database tell each other."""

from collections.abc import Collection
from uuid import UUID, uuid4

from support.database.stored_workflows import ME, OTHER, THIRD, Stored
from support.providers.scripted import eventually

Heard = list[Collection[UUID] | None]


async def test_other_processes_receive_a_notification_and_the_sender_does_not(stored: Stored) -> None:
    there, ids = await stored.process(OTHER), [uuid4(), uuid4()]
    mine: Heard = []
    theirs: Heard = []
    async with stored.here.notifications.listen(mine.append), there.notifications.listen(theirs.append):
        await stored.here.notifications.send(ids)
        await there.notifications.send(ids[:1])
        await eventually(lambda: bool(mine and theirs), "both have heard")
    assert ([list(each or ()) for each in mine], [list(each or ()) for each in theirs]) == ([ids[:1]], [ids])


async def test_after_the_end_of_a_subscription_nothing_is_received(stored: Stored) -> None:
    there = await stored.process(OTHER)
    before: Heard = []
    after: Heard = []
    async with stored.here.notifications.listen(before.append):
        pass
    async with stored.here.notifications.listen(after.append):
        await there.notifications.send([uuid4()])
        await eventually(lambda: bool(after), "the one that listens has heard")
    assert before == []


async def test_a_process_that_comes_to_life_or_ends_in_order_is_noticed(stored: Stored) -> None:
    there, heard = await stored.process(OTHER), 0

    def changed() -> None:
        nonlocal heard
        heard += 1

    async with stored.here.presence.watch(changed):

        async def noticed(expected: int) -> None:
            # Notifications come in order: behind this one nothing is on its way.
            await stored.leases.release(THIRD)
            await there.leases.renew(THIRD, 60)
            await eventually(lambda: heard >= expected + 1, f"{expected} were noticed")
            assert heard == expected + 1

        await there.leases.renew(OTHER, 60)
        await noticed(1)
        await there.leases.renew(OTHER, 60)
        await noticed(3)
        await there.leases.release(OTHER)
        await noticed(6)


async def test_a_process_that_has_no_room_is_noticed(stored: Stored) -> None:
    there = await stored.process(OTHER)
    mine: list[str] = []
    theirs: list[str] = []
    async with (
        stored.here.presence.watch(lambda: mine.append("changed")),
        there.presence.watch(lambda: theirs.append("changed")),
    ):
        await there.presence.announce()
        await eventually(lambda: bool(mine), "the other process has no room")
    assert (mine, theirs) == (["changed"], [])


async def test_a_process_does_not_notice_itself(stored: Stored) -> None:
    there, heard = await stored.process(OTHER), []
    async with stored.here.presence.watch(lambda: heard.append("changed")):
        await stored.leases.renew(ME, 60)
        await there.leases.renew(OTHER, 60)
        await eventually(lambda: bool(heard), "the other was noticed")
    assert heard == ["changed"]
