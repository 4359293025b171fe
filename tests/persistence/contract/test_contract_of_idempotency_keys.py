"""Keys of requests: one request works on a key at a time, its effect is marked with it, and its response is kept."""

from uuid import UUID, uuid4

import pytest

from stepwell.basics.errors import StillRunning
from stepwell.basics.idempotency import KeyClaim, KeyState, StoredResponse
from stepwell.basics.tenancy import EVERY_TENANT, TenantScope
from stepwell.lifecycle.decision import Decision
from stepwell.lifecycle.inputs import Start
from stepwell.lifecycle.records import NewWorkflow
from support.database.stored_workflows import CHAIN, ME, OTHER, Stored, renamed

T = TenantScope("t")
RESPONSE, LATER = StoredResponse(201, {"location": "/x"}, b"made"), StoredResponse(200, {}, b"another")
TOKENS = [UUID(int=n) for n in range(1, 9)]


async def claim(
    stored: Stored, token: UUID, key: str = "k", fingerprint: bytes = b"f", scope: TenantScope = T
) -> KeyState:
    return await stored.here.keys.claim(scope, key, token, fingerprint)


async def alive(stored: Stored) -> None:
    for owner in (ME, OTHER):
        await stored.leases.renew(owner, 60)


async def test_the_first_request_gets_the_key(stored: Stored) -> None:
    state = await claim(stored, TOKENS[0])
    assert state == KeyState(KeyClaim("tenant t", "k", TOKENS[0]), mine=True)


async def test_each_tenant_and_each_subject_has_keys_of_its_own(stored: Stored) -> None:
    of_subjects = [TenantScope(tenant, subject=name) for tenant in ("t", None) for name in ("alice", "bob")]
    for scope in (T, TenantScope("u"), TenantScope(), EVERY_TENANT, *of_subjects):
        assert (await claim(stored, uuid4(), scope=scope)).mine


async def test_another_request_with_the_key_learns_of_the_first(stored: Stored) -> None:
    await alive(stored)
    first = await claim(stored, TOKENS[0])
    other = await claim(stored, TOKENS[1], fingerprint=b"g")
    assert other == KeyState(first.claim, mine=False, fingerprint=b"f")


async def test_a_later_try_of_the_process_takes_the_key_over_from_an_earlier_one(stored: Stored) -> None:
    await alive(stored)
    await claim(stored, TOKENS[1])
    assert (await claim(stored, TOKENS[2])).mine
    with pytest.raises(StillRunning):
        await claim(stored, TOKENS[0])


async def test_another_live_processs_key_is_not_taken_over(stored: Stored) -> None:
    await alive(stored)
    await claim(stored, TOKENS[0])
    there = await stored.process(OTHER)
    state = await there.keys.claim(T, "k", TOKENS[1], b"f")
    assert (state.mine, state.elsewhere, state.applied_to, state.response) == (
        False,
        True,
        None,
        None,
    )


async def test_a_dead_processs_key_is_taken_over(stored: Stored) -> None:
    await alive(stored)
    await claim(stored, TOKENS[1])
    await stored.leases.renew(ME, -1)
    there = await stored.process(OTHER)
    assert (await there.keys.claim(T, "k", TOKENS[0], b"f")).mine


async def test_the_first_response_is_stored_and_returned_to_all_repeats(stored: Stored) -> None:
    await alive(stored)
    first = await claim(stored, TOKENS[0])
    assert await stored.here.keys.store_response(first.claim, RESPONSE) == RESPONSE
    assert await stored.here.keys.store_response(first.claim, LATER) == RESPONSE
    repeated = await claim(stored, TOKENS[1])
    assert (repeated.mine, repeated.response, repeated.applied_to) == (False, RESPONSE, None)


async def test_a_response_to_a_key_that_was_taken_over_is_not_kept(stored: Stored) -> None:
    await alive(stored)
    first = await claim(stored, TOKENS[0])
    second = await claim(stored, TOKENS[1])
    assert await stored.here.keys.store_response(first.claim, LATER) == LATER
    assert await stored.here.keys.store_response(second.claim, RESPONSE) == RESPONSE


async def test_a_create_marks_its_key_with_the_workflow_once(stored: Stored) -> None:
    await alive(stored)
    key_claim = (await claim(stored, TOKENS[0])).claim
    handle, new = stored.draft(CHAIN, "t", ME)
    await stored.workflow_store.insert(T, NewWorkflow(new.record, new.final_position, 0, new.events, key_claim))
    repeated = await claim(stored, TOKENS[1])
    assert (repeated.mine, repeated.applied_to) == (False, handle.workflow_id)
    _, again = stored.draft(CHAIN, "t", ME)
    with pytest.raises(StillRunning):
        await stored.workflow_store.insert(
            T, NewWorkflow(again.record, again.final_position, 0, again.events, key_claim)
        )
    assert await stored.workflow_store.load(EVERY_TENANT, again.record.state.id) is None


async def test_a_create_whose_key_was_taken_over_has_no_effect(stored: Stored) -> None:
    await alive(stored)
    key_claim = (await claim(stored, TOKENS[0])).claim
    await claim(stored, TOKENS[1])
    _, new = stored.draft(CHAIN, "t", ME)
    with pytest.raises(StillRunning):
        await stored.workflow_store.insert(T, NewWorkflow(new.record, new.final_position, 0, new.events, key_claim))
    assert await stored.workflow_store.load(EVERY_TENANT, new.record.state.id) is None


async def started(stored: Stored, key_claim: KeyClaim) -> tuple[UUID, Decision]:
    handle = await stored.make(owner=None)
    decision = stored.decide(handle, Start("alice", uuid4(), ME))
    decision.key_claims.append(key_claim)
    return handle.workflow_id, decision


async def test_a_verb_marks_its_key_with_its_decision(stored: Stored) -> None:
    await alive(stored)
    workflow_id, decision = await started(stored, (await claim(stored, TOKENS[0])).claim)
    assert await stored.workflow_store.write([decision]) == set()
    assert (await claim(stored, TOKENS[1])).applied_to == workflow_id


async def test_a_verb_that_does_not_land_marks_nothing(stored: Stored) -> None:
    await alive(stored)
    key_claim = (await claim(stored, TOKENS[0])).claim
    handle = await stored.make(owner=None)
    loaded = await stored.workflow_store.load(EVERY_TENANT, handle.workflow_id)
    assert loaded is not None
    await stored.write(handle, renamed())
    decision = stored.decide(type(handle)(loaded), Start("alice", uuid4(), ME))
    decision.key_claims.append(key_claim)
    assert await stored.workflow_store.write([decision]) == {handle.workflow_id}
    assert (await claim(stored, TOKENS[1])).mine


async def test_a_released_key_without_an_effect_is_free(stored: Stored) -> None:
    await alive(stored)
    first, other = await claim(stored, TOKENS[0]), await claim(stored, TOKENS[1], "other")
    await stored.here.keys.release([first.claim, other.claim])
    there = await stored.process(OTHER)
    for key in ("k", "other"):
        assert (await there.keys.claim(T, key, TOKENS[2], b"f")).mine


async def test_a_released_key_with_an_effect_may_get_its_response_from_any_process(stored: Stored) -> None:
    await alive(stored)
    key_claim = (await claim(stored, TOKENS[0])).claim
    workflow_id, decision = await started(stored, key_claim)
    assert await stored.workflow_store.write([decision]) == set()
    there = await stored.process(OTHER)
    assert (await there.keys.claim(T, "k", TOKENS[1], b"f")).elsewhere
    await stored.here.keys.release([key_claim])
    found = await there.keys.claim(T, "k", TOKENS[1], b"f")
    assert (found.mine, found.applied_to, found.elsewhere) == (False, workflow_id, False)
    assert await there.keys.store_response(found.claim, RESPONSE) == RESPONSE


async def test_a_key_that_has_a_response_is_not_released(stored: Stored) -> None:
    await alive(stored)
    key_claim = (await claim(stored, TOKENS[0])).claim
    await stored.here.keys.store_response(key_claim, RESPONSE)
    await stored.here.keys.release([key_claim])
    assert (await claim(stored, TOKENS[1])).response == RESPONSE
