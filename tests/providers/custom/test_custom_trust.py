"""What CUSTOM believes, of whom, and what it tells nobody: signatures, origins, secrets."""

import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from anyio import fail_after, sleep

from providers.custom.custom_cases import CALLS, SECRET, SENT, World, attempt, running_world
from providers.image_files import TASK
from stepwell.basics.errors import AttemptError, CallFailed, OutcomeUnknown, StepwellError
from stepwell.ports.providers import CancelAnswer, Job, JobStatus
from stepwell.providers.custom.signing import UntrustedAnswer, check_signature, signature_headers
from support.emulators.base import Call, Emulator, Fault, Reply
from support.emulators.custom import Signing

BAD: dict[Signing, str] = {
    "missing": "UnsignedAnswer",
    "wrong": "WrongSignature",
    "old": "StaleSignature",
    "future": "StaleSignature",
    "no time": "StaleSignature",
    "of another status": "WrongSignature",
    "replayed": "WrongSignature",
}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with running_world(tmp_path, SECRET) as world:
        yield world


class Receiver(Emulator):
    """Whoever else is called, for a callback or by a worker's advice."""

    def kind_of(self, method: str, path: str, query: Mapping[str, str]) -> str:  # noqa: ARG002
        return "any"

    async def answer(self, call: Call) -> Reply:  # noqa: ARG002
        return Reply(200, {})


class TestSignatures:
    @pytest.mark.parametrize("signing", BAD)
    async def test_an_untrusted_answer_to_a_submit_raises_outcome_unknown(self, world: World, signing: Signing) -> None:
        await world.job(attempt(uuid4()))
        world.worker.signing = signing
        with pytest.raises(OutcomeUnknown, match=BAD[signing]):
            await world.submit()
        world.worker.signing = "right"
        assert len(await world.provider.reconcile(attempt(), SENT)) == world.worker.ledger.keys()[str(TASK)] == 1

    @pytest.mark.parametrize("fault", [Fault.REFUSED, Fault.BUSY, Fault.BROKEN, Fault.UNAVAILABLE])
    async def test_an_untrusted_error_raises_outcome_unknown(self, world: World, fault: Fault) -> None:
        world.worker.signing = "missing"
        world.worker.plan("submit", fault)
        with pytest.raises(OutcomeUnknown):
            await world.submit()

    @pytest.mark.parametrize("signing", BAD)
    @pytest.mark.parametrize("kind", CALLS)
    async def test_other_untrusted_answers_raise_call_failed(self, world: World, kind: str, signing: Signing) -> None:
        job = await world.job()
        world.worker.signing = signing
        with pytest.raises(CallFailed, match=BAD[signing]) as failure:
            await world.call(kind, job)
        assert not failure.value.forgotten

    async def test_an_unsigned_404_does_not_forget_a_job(self, world: World) -> None:
        job = await world.job()
        world.worker.forget(job.id)
        world.worker.signing = "missing"
        for kind in ("poll", "fetch", "cancel"):
            with pytest.raises(CallFailed) as failure:
                await world.call(kind, job)
            assert not failure.value.forgotten

    async def test_different_secrets_are_reported_as_a_refused_key(self, world: World) -> None:
        advice = (
            r"\(WrongSignature\): the key was refused \(set STEPWELL_CREDENTIALS__CUSTOM\): the signature is wrong$"
        )
        with pytest.raises(OutcomeUnknown, match=advice):
            await world.submit(provider=world.provider_with(custom="another"))
        assert world.worker.ledger.jobs() == []

    async def test_a_step_can_name_its_credential(self, world: World) -> None:
        provider, named = (
            world.provider_with(Custom_B=SECRET, custom="x"),
            attempt(provider_config={"credential": "custom_b"}),
        )
        assert isinstance(await world.submit(named, provider), Job)

    async def test_an_unknown_credential_fails_submits_and_calls_about_jobs(self, world: World) -> None:
        job, named = await world.job(), attempt(provider_config={"credential": "nobody's"})
        with pytest.raises(AttemptError, match="credential") as failure:
            await world.submit(named)
        assert not failure.value.retryable
        for call in (
            world.provider.poll(named, job),
            world.provider.fetch(named, job, world.io),
            world.provider.cancel(named, job),
            world.provider.reconcile(named, SENT),
        ):
            with pytest.raises(CallFailed, match="credential"):
                await call

    def test_a_signature_covers_timestamp_method_path_and_body(self) -> None:
        headers = signature_headers("k", 1_700_000_000.9, ("POST", "/jobs?a=%20b"), b'{"a":1}')
        assert headers == {
            "Stepwell-Timestamp": "1700000000",
            # printf '1700000000.POST./jobs?a=%%20b.{"a":1}' | openssl dgst -sha256 -hmac k
            "Stepwell-Signature": "v1=562232f24d7f07842b7b405d7684a12b34c83fae2a28f61d609a316544f3614e",
        }

    @pytest.mark.parametrize(
        ("now", "changed"),
        [
            (1_301, {}),
            (699, {}),
            (1_000, {"Stepwell-Timestamp": "1001"}),
            (1_000, {"Stepwell-Timestamp": ""}),
            (1_000, {"Stepwell-Signature": "é"}),
            (1_000, {"Stepwell-Signature": ""}),
        ],
    )
    def test_a_changed_or_old_signature_is_refused(self, now: float, changed: dict[str, str]) -> None:
        headers = signature_headers("k", 1_000, ("a",), b"x")
        for moment in (700, 1_000, 1_300):
            check_signature("k", moment, headers, ("a",), b"x")
        with pytest.raises(UntrustedAnswer):
            check_signature("k", now, headers | changed, ("a",), b"x")


class TestOrigins:
    @pytest.mark.parametrize(
        "named",
        [
            "{other}/jobs/{id}",
            "//{other_host}/jobs/{id}",
            "http://user@{host}/jobs/{id}",
            "https://{host}/jobs/{id}",
            "http://[x",
            "http://xn--/",
            "file:///jobs/{id}",
        ],
    )
    async def test_urls_of_another_origin_are_not_called(self, world: World, tmp_path: Path, named: str) -> None:
        async with Receiver(tmp_path) as other:
            job = await world.job()
            host = world.worker.url.removeprefix("http://")
            address = named.format(id=job.id, other=other.url, other_host=other.url.removeprefix("http://"), host=host)
            world.worker.extra = {"status_url": address, "cancel_url": address}
            job = await world.job()
            assert job.urls == {}
            stored_before = Job(id=job.id, urls={"status": address, "cancel": address})
            assert (await world.provider.poll(attempt(), stored_before)).status is JobStatus.SUCCEEDED
            assert await world.provider.cancel(attempt(), stored_before) is CancelAnswer.ENDED
            assert other.calls == []

    @pytest.mark.parametrize("named", ["{url}/jobs/{id}?v=2", "/jobs/{id}?v=2", "jobs/{id}?v=2"])
    async def test_urls_of_the_worker_are_called(self, world: World, named: str) -> None:
        job = await world.job()
        address = named.format(id=job.id, url=world.worker.url)
        world.worker.extra = {"status_url": address, "cancel_url": address.replace("?", "/cancel?")}
        job = await world.job()
        assert job.urls["status"] == f"{world.worker.url}/jobs/{job.id}?v=2"
        await world.call("cancel", job)
        await world.call("poll", job)
        assert [call.query for call in world.worker.calls[-2:]] == [{"v": "2"}] * 2

    async def test_a_redirect_isnt_followed(self, world: World, tmp_path: Path) -> None:
        async with Receiver(tmp_path) as other:
            job = await world.job()

            async def moved(call: Call) -> Reply:
                return world.worker.signed(call, Reply(307, {"error": "moved"}, {"Location": other.url}))

            world.worker.answer = moved  # type: ignore[method-assign]
            with pytest.raises(AttemptError):
                await world.submit()
            with pytest.raises(CallFailed):
                await world.call("poll", job)
            assert other.calls == []


class TestSecrets:
    @pytest.mark.parametrize("fault", Fault)
    async def test_no_error_contains_the_secret(self, world: World, fault: Fault) -> None:
        job = await world.job()
        world.worker.words = f"{SECRET} is wrong"
        provider = world.provider_with(0.3)
        for kind in ("submit", *CALLS):
            world.worker.plan(CALLS.get(kind, kind), fault)
            with pytest.raises(StepwellError) as failure:
                await (world.submit(provider=provider) if kind == "submit" else world.call(kind, job, provider))
            assert all(SECRET not in text for text in texts_of(failure.value))
        world.worker.let_go()

    async def test_no_message_about_a_job_contains_the_secret(self, world: World) -> None:
        world.worker.outcome, world.worker.words = "failed", f"the {SECRET} and\nmore"
        job = await world.job()
        assert (await world.provider.poll(attempt(), job)).error == "the *** and more"
        world.worker.forget(job.id)
        with pytest.raises(CallFailed) as failure:
            await world.call("poll", job)
        assert all(SECRET not in text for text in texts_of(failure.value))
        assert SECRET not in repr(world.provider) + repr(vars(world.provider))

    async def test_without_a_credential_nothing_is_signed(self, tmp_path: Path) -> None:
        async with running_world(tmp_path, None) as world:
            await world.job()
            await world.provider.reconcile(attempt(), SENT)
            assert len(world.worker.calls) == 2
            assert not [name for call in world.worker.calls for name in call.headers if name.startswith("stepwell")]


def texts_of(error: BaseException | None) -> list[str]:
    """All that an error and its causes say."""
    texts = []
    while error is not None:
        texts += [str(error), repr(error), repr(vars(error))]
        error = error.__cause__ or error.__context__
    return texts


class TestCallbacks:
    @pytest.mark.parametrize(("mode", "calls"), [("once", 1), ("duplicate", 2), ("early", 1)])
    async def test_a_callback_is_signed_for_its_attempt(
        self, world: World, tmp_path: Path, mode: Any, calls: int
    ) -> None:
        async with Receiver(tmp_path) as ours:
            world.worker.callbacks = mode
            world.worker.polls_until_done = 10
            job = await world.job(attempt(callback_url=f"{ours.url}/callback?token=1"))
            assert mode != "early" or len(ours.calls) == 1
            with fail_after(60):
                while len(ours.calls) < calls:
                    await sleep(0.01)
            for call in ours.calls:
                assert call.json() == {"id": job.id, "attempt_id": str(TASK), "status": "succeeded"}
                check_signature(SECRET, time.time(), call.headers, (str(TASK),), call.body)
                with pytest.raises(UntrustedAnswer):
                    check_signature(SECRET, time.time(), call.headers, (str(uuid4()),), call.body)
                assert world.provider.called_back(call.body) == Job(id=job.id)
            assert (await world.provider.poll(attempt(), job)).status is JobStatus.SUCCEEDED
