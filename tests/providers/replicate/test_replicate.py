"""REPLICATE, call by call, against an emulator of its API: what each answer, and each lack of one, comes to."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from providers.attempts import attempt
from providers.replicate.replicate_cases import (
    GENERATED,
    VERSION,
    FilesIO,
    called_back,
    provider_at,
    state_after_polls,
    submit,
)
from stepwell.basics.errors import AttemptError, CallFailed, OutcomeUnknown, StepwellError
from stepwell.basics.strict_json.canonical import canonical
from stepwell.contract.enums import ProviderType
from stepwell.ports.providers import CancelAnswer, Job, JobState, JobStatus, RemoteProvider
from stepwell.providers.replicate.provider import ReplicateProvider
from stepwell.providers.shared.credentials import Credentials
from support.emulators.base import Call, Fault
from support.emulators.replicate import TOKEN, ReplicateEmulator

CALLBACK = "https://stepwell.example/callbacks/1"
LOST = [
    Fault.LOSE_BEFORE,
    Fault.LOSE_AFTER,
    Fault.HANG_AFTER,
    Fault.DRIP_AFTER,
    Fault.GARBAGE_AFTER,
    Fault.TRUNCATE_AFTER,
    Fault.HUGE_AFTER,
    Fault.GATEWAY_BEFORE,
    Fault.GATEWAY_AFTER,
]


def only(emulator: ReplicateEmulator, kind: str) -> Call:
    (call,) = (call for call in emulator.calls if call.kind == kind)
    return call


def test_the_provider_implements_the_remote_port(provider: ReplicateProvider) -> None:
    port: RemoteProvider = provider
    assert (port.type, port.listing_lag_s) == (ProviderType.REPLICATE, 30)


class TestSubmit:
    @pytest.mark.parametrize(
        ("config", "path", "body"),
        [
            ({"model": "me/mine"}, "/v1/models/me/mine/predictions", {}),
            ({"deployment": "me/mine"}, "/v1/deployments/me/mine/predictions", {}),
            ({"model": f"me/mine:{VERSION}"}, "/v1/predictions", {"version": VERSION}),
            ({"model": VERSION}, "/v1/predictions", {"version": VERSION}),
        ],
    )
    async def test_a_prediction_is_created_by_version_model_or_deployment(
        self,
        provider: ReplicateProvider,
        emulator: ReplicateEmulator,
        config: dict[str, Any],
        path: str,
        body: dict[str, Any],
    ) -> None:
        job = await submit(provider, attempt(config=config, prompt="a shoe", seed=9))
        call, here = only(emulator, "submit"), f"{emulator.url}/v1/predictions/{job.id}"
        assert (call.path, call.json()) == (path, {"input": {"prompt": "a shoe", "seed": 9}, **body})
        assert call.headers["authorization"] == f"Bearer {TOKEN}"
        assert not call.headers.keys() & {"prefer", "cancel-after"}
        assert job.urls == {"get": here, "cancel": f"{here}/cancel"}
        assert emulator.ledger.keys() == {canonical({"input": {"prompt": "a shoe", "seed": 9}}).decode(): 1}

    async def test_the_webhook_is_not_part_of_the_request_body(
        self, provider: ReplicateProvider, emulator: ReplicateEmulator
    ) -> None:
        work = called_back(GENERATED, CALLBACK)
        request = await provider.prepare(work, FilesIO())
        assert request == await provider.prepare(GENERATED, FilesIO())
        await provider.submit(work, request, FilesIO())
        hook = {"webhook": CALLBACK, "webhook_events_filter": ["completed"]}
        assert only(emulator, "submit").json() == {**request.body, **hook}

    @pytest.mark.parametrize(("seconds", "header"), [(1, "5s"), (90.7, "90s"), (10**9, "86400s")])
    async def test_cancel_after_s_is_sent_as_a_header(
        self, provider: ReplicateProvider, emulator: ReplicateEmulator, seconds: float, header: str
    ) -> None:
        await submit(provider, attempt(config={"model": "me/mine", "cancel_after_s": seconds}, prompt="x"))
        assert only(emulator, "submit").headers["cancel-after"] == header

    @pytest.mark.parametrize("fault", LOST)
    async def test_a_submit_without_a_readable_answer_raises_outcome_unknown(
        self, provider: ReplicateProvider, emulator: ReplicateEmulator, fault: Fault
    ) -> None:
        emulator.plan("submit", fault)
        with pytest.raises(OutcomeUnknown) as unknown:
            await submit(provider)
        assert TOKEN not in str(unknown.value)
        assert emulator.count("submit") == 1
        assert len(emulator.ledger.jobs()) == (not fault.name.endswith("BEFORE"))

    @pytest.mark.parametrize(
        ("fault", "words", "retryable", "after_s"),
        [
            (Fault.BUSY, "429: Request was throttled", True, 0),
            (Fault.UNAVAILABLE, "503: no capacity", True, None),
            (Fault.BROKEN, "500: something broke", True, None),
            (Fault.REFUSED, "422: this can't be done", False, None),
        ],
    )
    async def test_a_refused_submit_raises_an_attempt_error(
        self,
        provider: ReplicateProvider,
        emulator: ReplicateEmulator,
        fault: Fault,
        words: str,
        retryable: bool,  # noqa: FBT001 - a column
        after_s: float | None,
    ) -> None:
        emulator.plan("submit", fault)
        with pytest.raises(AttemptError, match=words) as refusal:
            await submit(provider)
        assert (refusal.value.retryable, refusal.value.retry_after_s) == (retryable, after_s)
        assert emulator.ledger.jobs() == []

    async def test_a_refused_connection_is_retryable(self, client: httpx.AsyncClient, tmp_path: Path) -> None:
        async with ReplicateEmulator(tmp_path) as stopped:
            provider = provider_at(stopped, client)
        with pytest.raises(AttemptError, match="connection refused") as failure:
            await submit(provider)
        assert failure.value.retryable

    async def test_a_wrong_key_is_not_retryable(self, provider: ReplicateProvider, emulator: ReplicateEmulator) -> None:
        work = attempt(config={"model": "me/mine", "credential": "REPLICATE_B"}, prompt="x")
        with pytest.raises(AttemptError, match="401: You did not pass a valid authentication token") as refusal:
            await submit(provider, work)
        assert not refusal.value.retryable
        assert only(emulator, "submit").headers["authorization"] == "Bearer r8_other"

    @pytest.mark.parametrize("config", [{"model": "me/mine"}, {"model": "me/mine", "credential": "replicate_none"}])
    async def test_a_missing_key_fails_submits_and_calls_about_jobs(
        self, emulator: ReplicateEmulator, client: httpx.AsyncClient, config: dict[str, Any]
    ) -> None:
        provider = ReplicateProvider(client, Credentials({"replicate_b": "x", "fal": "y"}), url=emulator.url)
        work = attempt(config=config, prompt="x")
        with pytest.raises(AttemptError, match="holds no credential of this name") as refusal:
            await submit(provider, work)
        assert not refusal.value.retryable
        for call in (provider.poll, provider.cancel):
            with pytest.raises(CallFailed, match="holds no credential of this name"):
                await call(work, Job(id="x"))
        assert emulator.calls == []


class TestPoll:
    async def test_a_job_is_running_until_it_has_succeeded(
        self, provider: ReplicateProvider, emulator: ReplicateEmulator
    ) -> None:
        emulator.polls_until_done = 3
        job = await submit(provider)
        states = [await provider.poll(GENERATED, job) for _ in range(3)]
        running = JobState(status=JobStatus.RUNNING, word="processing")
        assert states == [running, running, JobState(status=JobStatus.SUCCEEDED, word="succeeded")]

    @pytest.mark.parametrize(
        ("said", "reason", "retryable"),
        [
            ("Prediction interrupted; please retry (code: PA)", None, True),
            ("E6716: timed out starting", None, True),
            ("NSFW content detected.", None, False),
            ("The input was flagged as sensitive. (E005)", None, False),
            ("Model ran out of memory (E1001)", None, False),
            ({"reason": "odd"}, '{"reason":"odd"}', True),
            (None, "no reason given", True),
            ("a\x00b", "a b", True),
            (f"key {TOKEN} rejected", "key … rejected", True),
        ],
    )
    async def test_a_failed_job_reports_its_error(
        self,
        provider: ReplicateProvider,
        emulator: ReplicateEmulator,
        said: Any,
        reason: str | None,
        retryable: bool,  # noqa: FBT001 - a column
    ) -> None:
        emulator.outcome, emulator.error_message = "failed", said
        state = await state_after_polls(provider, await submit(provider))
        assert state == JobState(
            status=JobStatus.FAILED, word="failed", error=f"Replicate: {reason or said}", retryable=retryable
        )

    async def test_an_aborted_prediction_is_retryable(
        self, provider: ReplicateProvider, emulator: ReplicateEmulator
    ) -> None:
        emulator.outcome = "aborted"
        state = await state_after_polls(provider, await submit(provider))
        assert (state.status, state.word, state.retryable) == (JobStatus.FAILED, "aborted", True)
        assert "before the prediction could start" in state.error

    @pytest.mark.parametrize(
        ("word", "status"),
        [
            ("starting", JobStatus.RUNNING),
            ("processing", JobStatus.RUNNING),
            ("queued for review", JobStatus.RUNNING),
            ("canceled", JobStatus.CANCELLED),
        ],
    )
    async def test_each_documented_status_is_understood(
        self, provider: ReplicateProvider, emulator: ReplicateEmulator, word: str, status: JobStatus
    ) -> None:
        emulator.polls_until_done = 9
        job = await submit(provider)
        await state_after_polls(provider, job)
        emulator.predictions[job.id].status = word
        assert (await state_after_polls(provider, job)).status is status

    async def test_an_unknown_job_is_forgotten(self, provider: ReplicateProvider, emulator: ReplicateEmulator) -> None:
        job = await submit(provider)
        emulator.forget(job.id)
        with pytest.raises(CallFailed, match="404") as failure:
            await provider.poll(GENERATED, job)
        assert failure.value.forgotten

    @pytest.mark.parametrize("fault", Fault)
    async def test_a_poll_or_fetch_without_an_answer_raises_call_failed(
        self, provider: ReplicateProvider, emulator: ReplicateEmulator, fault: Fault
    ) -> None:
        job = await submit(provider)
        emulator.plan("poll", fault, fault)
        for call in (provider.poll(GENERATED, job), provider.fetch(GENERATED, job, FilesIO())):
            with pytest.raises(CallFailed) as failure:
                await call
            assert not failure.value.forgotten
            assert failure.value.retry_after_s == {Fault.BUSY: 0, Fault.AWAY: 1}.get(fault)
        assert (await state_after_polls(provider, job)).status is JobStatus.SUCCEEDED


class TestCancel:
    async def test_a_cancelled_job_ends(self, provider: ReplicateProvider, emulator: ReplicateEmulator) -> None:
        emulator.held = True
        job = await submit(provider)
        assert await provider.cancel(GENERATED, job) is CancelAnswer.ACCEPTED
        assert await provider.cancel(GENERATED, job) is CancelAnswer.ACCEPTED
        assert (await state_after_polls(provider, job)) == JobState(status=JobStatus.CANCELLED, word="canceled")

    async def test_a_job_may_succeed_in_spite_of_a_cancel(
        self, provider: ReplicateProvider, emulator: ReplicateEmulator
    ) -> None:
        emulator.ignore_cancel = True
        job = await submit(provider)
        assert await provider.cancel(GENERATED, job) is CancelAnswer.ACCEPTED
        assert (await state_after_polls(provider, job)).status is JobStatus.SUCCEEDED

    @pytest.mark.parametrize("outcome", ["succeeded", "failed", "aborted"])
    async def test_a_cancel_of_an_ended_job_answers_ended(
        self, provider: ReplicateProvider, emulator: ReplicateEmulator, outcome: Any
    ) -> None:
        emulator.outcome = outcome
        job = await submit(provider)
        await state_after_polls(provider, job)
        assert await provider.cancel(GENERATED, job) is CancelAnswer.ENDED

    async def test_a_cancel_of_an_unknown_job_answers_unknown_job(
        self, provider: ReplicateProvider, emulator: ReplicateEmulator
    ) -> None:
        job = await submit(provider)
        emulator.forget(job.id)
        assert await provider.cancel(GENERATED, job) is CancelAnswer.UNKNOWN_JOB

    @pytest.mark.parametrize("fault", Fault)
    async def test_a_cancel_without_an_answer_raises_call_failed(
        self, provider: ReplicateProvider, emulator: ReplicateEmulator, fault: Fault
    ) -> None:
        emulator.held = True
        job = await submit(provider)
        emulator.plan("cancel", fault)
        if fault is Fault.REFUSED:
            assert await provider.cancel(GENERATED, job) is CancelAnswer.REFUSED
            return
        with pytest.raises(CallFailed) as failure:
            await provider.cancel(GENERATED, job)
        assert TOKEN not in str(failure.value)

    async def test_a_wrong_key_does_not_count_as_a_refused_cancel(
        self, provider: ReplicateProvider, emulator: ReplicateEmulator
    ) -> None:
        job = await submit(provider)
        emulator.token = "r8_another"
        with pytest.raises(CallFailed, match="401"):
            await provider.cancel(GENERATED, job)


class TestKey:
    async def test_the_key_is_sent_to_no_other_origin(
        self, provider: ReplicateProvider, emulator: ReplicateEmulator, tmp_path: Path
    ) -> None:
        (tmp_path / "other").mkdir()
        async with ReplicateEmulator(tmp_path / "other") as other:
            for named in (other.url, emulator.url.replace("//", "//me:secret@"), "https://[", "not an address"):
                emulator.names_urls_at = named
                job = await submit(provider)
                assert job.urls["get"].startswith(named)
                assert (await state_after_polls(provider, job)).status is JobStatus.SUCCEEDED
                assert await provider.cancel(GENERATED, job) is CancelAnswer.ENDED
            assert other.calls == []

    async def test_no_message_contains_the_key(self, emulator: ReplicateEmulator, client: httpx.AsyncClient) -> None:
        emulator.error = lambda status, message: echoing(emulator, status, message)  # type: ignore[method-assign]
        provider, job = provider_at(emulator, client), Job(id="x")
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "submit": lambda: submit(provider),
            "poll": lambda: provider.poll(GENERATED, job),
            "cancel": lambda: provider.cancel(GENERATED, job),
        }
        for kind, call in calls.items():
            emulator.plan(kind, Fault.BROKEN)
            with pytest.raises(StepwellError, match=r"500: no, Bearer …") as failure:
                await call()
            assert TOKEN not in f"{failure.value!r} {failure.value} {provider!r}"


def echoing(emulator: ReplicateEmulator, status: int, message: str) -> Any:
    """An error that repeats the key."""
    reply = type(emulator).error(emulator, status, message)
    reply.body["detail"] = f"no, {emulator.calls[-1].headers['authorization']}"
    return reply
