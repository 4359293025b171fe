"""The stored sign-ins: a code is used once, and sessions and codes end together."""

import asyncio
from datetime import timedelta
from uuid import uuid4

from stepwell.ports.sign_ins import CodeRefusal
from support.database.stored_workflows import OTHER, Stored

VALID = timedelta(minutes=10)


async def test_a_code_is_used_once(stored: Stored) -> None:
    sign_ins, code = stored.here.sign_ins, uuid4()
    issued_at = await sign_ins.now()
    used_at = await sign_ins.use_code(code, issued_at, issued_at + VALID)
    assert not isinstance(used_at, CodeRefusal)
    assert issued_at < used_at < await sign_ins.now()
    for _ in range(2):
        assert await sign_ins.use_code(code, issued_at, issued_at + VALID) is CodeRefusal.USED
    assert not isinstance(await sign_ins.use_code(uuid4(), issued_at, issued_at + VALID), CodeRefusal)


async def test_one_of_many_uses_at_once_by_several_processes_uses_the_code(stored: Stored) -> None:
    here, there = stored.here.sign_ins, (await stored.process(OTHER)).sign_ins
    issued_at = await here.now()
    for _ in range(10):
        code = uuid4()
        uses = [process.use_code(code, issued_at, issued_at + VALID) for process in (here, there) * 3]
        results = await asyncio.gather(*uses)
        assert results.count(CodeRefusal.USED) == 5


async def test_ending_all_ends_what_was_issued_before(stored: Stored) -> None:
    sign_ins = stored.here.sign_ins
    before = await sign_ins.now()
    await sign_ins.end_all()
    after = await sign_ins.now()
    ended_at = await sign_ins.ended_at()
    assert ended_at is not None
    assert before < ended_at < after
    assert await (await stored.process(OTHER)).sign_ins.ended_at() == ended_at
    code = uuid4()
    for issued_at in (before, ended_at):
        assert await sign_ins.use_code(code, issued_at, before + VALID) is CodeRefusal.ENDED
    assert not isinstance(await sign_ins.use_code(code, after, after + VALID), CodeRefusal)
    await sign_ins.end_all()
    assert (await sign_ins.ended_at() or before) > after


async def test_a_code_is_still_known_after_it_has_expired(stored: Stored) -> None:
    """The clocks of two processes may differ, so it may be valid for another one."""
    sign_ins, code = stored.here.sign_ins, uuid4()
    now = await sign_ins.now()
    expired = now - timedelta(minutes=50)
    assert not isinstance(await sign_ins.use_code(code, now, expired), CodeRefusal)
    assert not isinstance(await sign_ins.use_code(uuid4(), now, expired), CodeRefusal)
    assert await sign_ins.use_code(code, now, expired) is CodeRefusal.USED
