"""REPLICATE finds what came of a request whose answer was lost, and only that."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from providers.attempts import attempt
from providers.replicate.replicate_cases import GENERATED, VERSION, FilesIO, provider_at
from stepwell.basics.errors import CallFailed, OutcomeUnknown
from stepwell.basics.strict_json.canonical import digest
from stepwell.lifecycle.model import Sent
from stepwell.ports.providers import Attempt, Job
from stepwell.providers.replicate.provider import ReplicateProvider
from support.emulators.base import Fault
from support.emulators.replicate import PAGE, TOKEN, ReplicateEmulator

AT = datetime(2026, 11, 25, 12, 0, 0, tzinfo=UTC)
INPUT = {"prompt": "a shoe", "seed": 9, "scale": 2.0}
SENT = Sent("me/mine", digest({"input": INPUT}), AT)
SHOWN = {"prompt": "a shoe", "scale": 2, "seed": 9}  # the same, as another would write it
FOLLOWED_UP = attempt()


def after(seconds: float) -> datetime:
    return AT + timedelta(seconds=seconds)


async def submit_and_lose_answer(provider: ReplicateProvider, emulator: ReplicateEmulator, work: Attempt) -> Sent:
    """What is known of a request that was taken, its answer lost."""
    emulator.plan("submit", Fault.LOSE_AFTER)
    request = await provider.prepare(work, FilesIO())
    with pytest.raises(OutcomeUnknown):
        await provider.submit(work, request, FilesIO())
    prediction = list(emulator.predictions.values())[-1]
    return Sent(request.model, digest(request.body), prediction.created_at)


async def ids(provider: ReplicateProvider, sent: Sent = SENT) -> list[str]:
    return [job.id for job in await provider.reconcile(FOLLOWED_UP, sent)]


@pytest.mark.parametrize(
    "config",
    [
        {"model": "me/mine"},
        {"model": "deployments/mine"},
        {"deployment": "me/mine"},
        {"model": f"somebody/something:{VERSION}"},
        {"model": VERSION},
    ],
)
@pytest.mark.parametrize("lists_inputs", [True, False])
async def test_a_prediction_whose_answer_was_lost_is_found_by_its_input(
    provider: ReplicateProvider,
    emulator: ReplicateEmulator,
    config: dict[str, Any],
    lists_inputs: bool,  # noqa: FBT001 - a column
) -> None:
    emulator.lists_inputs, emulator.held = lists_inputs, True
    await submit_and_lose_answer(provider, emulator, attempt(config=config, prompt="another", seed=9))
    sent = await submit_and_lose_answer(provider, emulator, attempt(config=config, prompt="a shoe", seed=9))
    (_, (made, _, _)) = emulator.ledger.jobs()
    here = f"{emulator.url}/v1/predictions/{made}"
    assert await provider.reconcile(FOLLOWED_UP, sent) == [Job(id=made, urls={"get": here, "cancel": f"{here}/cancel"})]
    assert emulator.count("submit") == 2
    assert emulator.count("poll") == (0 if lists_inputs else 2)


async def test_a_prediction_is_found_after_a_restart_of_the_server(tmp_path: Path, client: httpx.AsyncClient) -> None:
    async with ReplicateEmulator(tmp_path) as first:
        sent = await submit_and_lose_answer(provider_at(first, client), first, GENERATED)
    async with ReplicateEmulator(tmp_path) as second:
        assert len(await provider_at(second, client).reconcile(FOLLOWED_UP, sent)) == 1


async def test_of_identical_predictions_the_one_nearest_in_time_comes_first(
    provider: ReplicateProvider, emulator: ReplicateEmulator
) -> None:
    far = emulator.place(SHOWN, model="me/mine", at=after(40))
    near = emulator.place(SHOWN, model="me/mine", at=after(-2))
    middle = emulator.place(SHOWN, model="me/mine", at=after(5))
    assert await ids(provider) == [near, middle, far]


@pytest.mark.parametrize("filters", [True, False])
async def test_reconcile_reads_several_pages(
    provider: ReplicateProvider,
    emulator: ReplicateEmulator,
    filters: bool,  # noqa: FBT001 - a column
) -> None:
    emulator.filters = filters
    emulator.place(SHOWN, model="me/mine", at=after(-61))
    first = emulator.place(SHOWN, model="me/mine", at=after(-59))
    for number in range(2 * PAGE):
        emulator.place({"prompt": str(number)}, model="me/mine", at=after(number))
    last = emulator.place(SHOWN, model="me/mine", at=after(899))
    emulator.place(SHOWN, model="me/mine", at=after(901))
    for number in range(4 * PAGE):
        emulator.place(SHOWN, model="me/mine", at=after(-3_600 - number))
    assert await ids(provider) == [first, last]
    assert emulator.count("list") == (3 if filters else 4)
    assert all(call.headers["authorization"] == f"Bearer {TOKEN}" for call in emulator.calls)


async def test_predictions_of_other_models_are_not_found(
    provider: ReplicateProvider, emulator: ReplicateEmulator
) -> None:
    emulator.place(SHOWN, model="me/other", at=AT)
    emulator.place(SHOWN, model="me/mine", at=AT, version=VERSION)
    assert len(await ids(provider)) == 1
    assert await ids(provider, Sent("Me/Mine", SENT.digest, AT)) == await ids(provider)
    versioned = digest({"input": INPUT, "version": VERSION})
    assert len(await ids(provider, Sent("me/mine", versioned, AT))) == 1
    assert len(await ids(provider, Sent(VERSION, versioned, AT))) == 1
    assert await ids(provider, Sent("b2" * 32, versioned, AT)) == []
    assert await ids(provider, Sent("deployments/me/mine", SENT.digest, AT)) != []


async def test_predictions_of_a_deployment_are_found_by_its_name(
    provider: ReplicateProvider, emulator: ReplicateEmulator
) -> None:
    full = emulator.place(SHOWN, model="x/y", at=AT, deployment="me/gpu")
    short = emulator.place(SHOWN, model="x/y", at=after(1), deployment="gpu")
    emulator.place(SHOWN, model="x/y", at=after(2), deployment="you/gpu")
    assert await ids(provider, Sent("deployments/me/gpu", SENT.digest, AT)) == [full, short]


async def test_predictions_with_a_removed_input_are_left_out(
    provider: ReplicateProvider, emulator: ReplicateEmulator
) -> None:
    emulator.remove_data(emulator.place(SHOWN, model="me/mine", at=AT))
    emulator.lists_inputs = False
    assert await ids(provider) == []
    assert emulator.count("poll") == 0


async def test_a_prediction_that_is_gone_meanwhile_is_left_out(
    provider: ReplicateProvider, emulator: ReplicateEmulator
) -> None:
    emulator.place(SHOWN, model="me/mine", at=AT)
    emulator.lists_inputs = False
    emulator.plan("poll", Fault.BROKEN)
    with pytest.raises(CallFailed, match="500"):
        await ids(provider)
    emulator.names_urls_at = f"{emulator.url}/elsewhere"
    assert await ids(provider) == []


async def test_a_prediction_that_is_not_listed_yet_is_not_found(
    provider: ReplicateProvider, emulator: ReplicateEmulator
) -> None:
    sent = await submit_and_lose_answer(provider, emulator, GENERATED)
    emulator.hide_from_listing = True
    assert await ids(provider, sent) == []
    emulator.hide_from_listing = False
    assert len(await ids(provider, sent)) == 1


async def test_a_next_page_elsewhere_isnt_fetched_there(
    provider: ReplicateProvider, emulator: ReplicateEmulator, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    placed = [emulator.place(SHOWN, model="me/mine", at=after(number)) for number in range(PAGE + 1)]
    async with ReplicateEmulator(tmp_path / "other") as other:
        emulator.names_urls_at = other.url
        assert await ids(provider) == placed
        assert other.calls == []
    assert emulator.count("list") == 2


@pytest.mark.parametrize("host", ["[::1", "[::1]8080", "\u2100.example", "a:b"])
async def test_the_cursor_of_a_malformed_address_is_followed_here(
    provider: ReplicateProvider, emulator: ReplicateEmulator, host: str
) -> None:
    placed = [emulator.place(SHOWN, model="me/mine", at=after(number)) for number in range(PAGE + 1)]
    emulator.names_urls_at = f"http://{host}"
    assert await ids(provider) == placed
    assert emulator.count("list") == 2


async def test_a_list_of_more_than_50_pages_raises_call_failed(
    provider: ReplicateProvider, emulator: ReplicateEmulator
) -> None:
    emulator.place(SHOWN, model="me/mine", at=AT)
    for number in range(50 * PAGE):
        emulator.place({"prompt": "x"}, model="me/mine", at=after(number / 10))
    with pytest.raises(CallFailed, match="more than 50 pages"):
        await ids(provider)
    assert emulator.count("list") == 50


@pytest.mark.parametrize("fault", Fault)
async def test_a_list_call_without_an_answer_raises_call_failed(
    provider: ReplicateProvider, emulator: ReplicateEmulator, fault: Fault
) -> None:
    emulator.place(SHOWN, model="me/mine", at=AT)
    emulator.plan("list", fault)
    with pytest.raises(CallFailed) as failure:
        await ids(provider)
    assert TOKEN not in str(failure.value)
    assert len(await ids(provider)) == 1
