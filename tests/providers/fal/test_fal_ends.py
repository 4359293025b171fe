"""FAL: jobs given up, jobs found again, keys that nobody sees, and what its emulator reports."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from providers.fal.fal_cases import FLUX, NO_ANSWER, NOW, Bench, answer_with, attempt, fal_bench, prepare
from stepwell.basics.errors import AttemptError, CallFailed, OutcomeUnknown
from stepwell.ports.providers import CancelAnswer, Job, JobState, JobStatus, Request
from support.emulators.base import Fault
from support.emulators.fal import KEY


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with fal_bench(tmp_path) as made:
        yield made


class TestCancel:
    async def test_a_queued_request_is_cancelled(self, bench: Bench) -> None:
        job = await bench.submitted()
        assert await bench.provider().cancel(bench.work, job) is CancelAnswer.ACCEPTED
        assert [(call.method, call.kind) for call in bench.fal.calls[1:]] == [("PUT", "cancel")]
        state = await bench.provider().poll(bench.work, job)
        assert state == JobState(status=JobStatus.CANCELLED, word="COMPLETED")
        assert await bench.provider().cancel(bench.work, job) is CancelAnswer.ENDED

    async def test_a_cancelled_request_may_be_unknown_afterwards(self, bench: Bench) -> None:
        bench.fal.cancelled_is = "gone"
        job = await bench.submitted()
        assert await bench.provider().cancel(bench.work, job) is CancelAnswer.ACCEPTED
        with pytest.raises(CallFailed) as failure:
            await bench.provider().poll(bench.work, job)
        assert failure.value.forgotten
        assert await bench.provider().cancel(bench.work, job) is CancelAnswer.UNKNOWN_JOB

    @pytest.mark.parametrize("ignored", [False, True])
    async def test_a_running_request_may_end_in_spite_of_a_cancel(self, bench: Bench, ignored: bool) -> None:  # noqa: FBT001
        bench.fal.polls_until_done, bench.fal.ignore_cancel = 3, ignored
        job = await bench.submitted()
        for _ in range(2):
            await bench.provider().poll(bench.work, job)
        assert await bench.provider().cancel(bench.work, job) is CancelAnswer.ACCEPTED
        end = JobStatus.SUCCEEDED if ignored else JobStatus.CANCELLED
        assert (await bench.provider().poll(bench.work, job)).status is end

    async def test_a_cancel_of_an_ended_request_answers_ended(self, bench: Bench) -> None:
        job = await bench.submitted()
        await bench.provider().poll(bench.work, job)
        assert await bench.provider().cancel(bench.work, job) is CancelAnswer.ENDED

    async def test_a_cancel_of_an_unknown_request_answers_unknown_job(self, bench: Bench) -> None:
        job = await bench.submitted()
        bench.fal.forget(job.id)
        assert await bench.provider().cancel(bench.work, job) is CancelAnswer.UNKNOWN_JOB

    @pytest.mark.parametrize(
        ("status", "body", "expected"),
        [
            (404, {"detail": "Request not found"}, CancelAnswer.UNKNOWN_JOB),
            (200, {"status": "NOT_FOUND"}, CancelAnswer.UNKNOWN_JOB),
            (200, {"status": "ALREADY_COMPLETED"}, CancelAnswer.ENDED),
            (200, {"status": "OK"}, CancelAnswer.ACCEPTED),
            (400, {"detail": "not cancellable"}, CancelAnswer.REFUSED),
        ],
    )
    async def test_each_documented_answer_to_a_cancel_is_understood(
        self, bench: Bench, status: int, body: Any, expected: CancelAnswer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job = await bench.submitted()
        answer_with(monkeypatch, body, status)
        assert await bench.provider().cancel(bench.work, job) is expected

    @pytest.mark.parametrize(("status", "body"), [(404, b"<html>"), (200, {"status": ""}), (200, {}), (400, {})])
    async def test_an_unreadable_answer_to_a_cancel_raises_call_failed(
        self, bench: Bench, status: int, body: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job = await bench.submitted()
        answer_with(monkeypatch, body, status)
        with pytest.raises(CallFailed, match="can't be read"):
            await bench.provider().cancel(bench.work, job)

    @pytest.mark.parametrize("word", ["CANCELLED", "CANCELED"])
    async def test_both_spellings_of_cancelled_are_understood(
        self, bench: Bench, word: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job = await bench.submitted()
        answer_with(monkeypatch, {"status": word})
        assert (await bench.provider().poll(bench.work, job)).status is JobStatus.CANCELLED

    @pytest.mark.parametrize("fault", NO_ANSWER)
    async def test_a_cancel_without_an_answer_raises_call_failed(self, bench: Bench, fault: Fault) -> None:
        job = await bench.submitted()
        bench.fal.plan("cancel", fault)
        with pytest.raises(CallFailed):
            await bench.provider().cancel(bench.work, job)

    async def test_a_refused_cancel_answers_refused(self, bench: Bench) -> None:
        job = await bench.submitted()
        bench.fal.plan("cancel", Fault.REFUSED)
        assert await bench.provider().cancel(bench.work, job) is CancelAnswer.REFUSED


class TestReconcile:
    async def test_of_identical_requests_the_one_nearest_in_time_comes_first(self, bench: Bench) -> None:
        jobs = [await bench.submitted() for _ in range(2)]
        await bench.submitted(attempt(prompt="another", width=40, height=30))
        ages = (timedelta(seconds=-2), timedelta(seconds=50))
        for job, age in zip(jobs, ages, strict=True):
            bench.fal.jobs[job.id].sent_at = NOW + age
        body = (await prepare(bench.work)).body
        reordered = {name: body[name] for name in reversed(list(body))} | {"seed": 5.0}
        assert await bench.provider().reconcile(bench.work, bench.sent(reordered)) == jobs

    async def test_reconcile_asks_for_the_requests_of_the_model_around_that_time(self, bench: Bench) -> None:
        at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
        assert await bench.provider().reconcile(bench.work, bench.sent({}, at=at)) == []
        call = bench.fal.calls[0]
        assert (call.method, call.path) == ("GET", "/v1/models/requests/by-endpoint")
        assert call.headers["authorization"] == f"Key {KEY}"
        assert call.query == {
            "endpoint_id": FLUX,
            "start": "2026-01-02T03:03:05Z",
            "end": "2026-01-03T03:04:05Z",
            "limit": "100",
            "expand": "payloads",
        }

    @pytest.mark.parametrize(
        ("age_s", "found"), [(-61, False), (-59, True), (0, True), (15 * 60 - 1, True), (15 * 60 + 1, False)]
    )
    async def test_only_requests_within_the_time_window_are_found(self, bench: Bench, age_s: int, found: bool) -> None:  # noqa: FBT001
        job = await bench.submitted()
        bench.fal.jobs[job.id].sent_at = NOW + timedelta(seconds=age_s)
        body = (await prepare(bench.work)).body
        assert len(await bench.provider().reconcile(bench.work, bench.sent(body))) == found

    @pytest.mark.parametrize(
        ("age_s", "app", "found"), [(0, FLUX, True), (0, None, True), (-61, FLUX, False), (0, "fal-ai/other", False)]
    )
    async def test_requests_outside_the_query_are_ignored(
        self,
        bench: Bench,
        age_s: int,
        app: str | None,
        found: bool,  # noqa: FBT001
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        at = (NOW + timedelta(seconds=age_s)).isoformat()
        answer_with(monkeypatch, {"items": [{"request_id": "r", "sent_at": at, "json_input": {}, "endpoint_id": app}]})
        assert len(await bench.provider().reconcile(bench.work, bench.sent({}))) == found

    async def test_reconcile_reads_all_pages(self, bench: Bench) -> None:
        first = await bench.submitted()
        for number in range(120):
            await bench.submitted(attempt(prompt=str(number)))
        body = (await prepare(bench.work)).body
        assert await bench.provider().reconcile(bench.work, bench.sent(body)) == [first]
        assert bench.fal.count("list") == 2

    async def test_a_list_of_more_than_50_pages_raises_call_failed(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        answer_with(monkeypatch, {"items": [], "next_cursor": "Mg==", "has_more": True})
        with pytest.raises(CallFailed, match="longer than 5000"):
            await bench.provider().reconcile(bench.work, bench.sent({}))
        assert bench.fal.count("list") == 50

    async def test_requests_of_another_app_or_not_yet_listed_are_not_found(self, bench: Bench) -> None:
        await bench.submitted()
        body = (await prepare(bench.work)).body
        assert await bench.provider().reconcile(bench.work, bench.sent(body, model="fal-ai/other")) == []
        bench.fal.hide_from_listing = True
        assert await bench.provider().reconcile(bench.work, bench.sent(body)) == []
        bench.fal.hide_from_listing, bench.fal.listing_delay_s = False, 3600
        assert await bench.provider().reconcile(bench.work, bench.sent(body)) == []
        bench.fal.listing_delay_s, bench.fal.lists_waiting = 0, False
        assert await bench.provider().reconcile(bench.work, bench.sent(body)) == []

    async def test_a_list_without_inputs_raises_call_failed(self, bench: Bench) -> None:
        await bench.submitted()
        bench.fal.shows_payloads = False
        body = (await prepare(bench.work)).body
        with pytest.raises(CallFailed, match="doesn't show"):
            await bench.provider().reconcile(bench.work, bench.sent(body))

    async def test_times_without_a_zone_are_utc(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        item = {"request_id": "r", "sent_at": NOW.replace(tzinfo=None).isoformat(), "json_input": {}}
        answer_with(monkeypatch, {"items": [item]})
        outcome = await bench.provider().reconcile(bench.work, bench.sent({}))
        assert [job.id for job in outcome] == ["r"]

    async def test_a_lost_answer_is_found_again_and_goes_on(self, bench: Bench) -> None:
        bench.fal.plan("submit", Fault.LOSE_AFTER)
        with pytest.raises(OutcomeUnknown):
            await bench.submitted()
        body = (await prepare(bench.work)).body
        (job,) = await bench.provider().reconcile(bench.work, bench.sent(body))
        assert (await bench.provider().poll(bench.work, job)).status is JobStatus.SUCCEEDED
        assert (await bench.provider().fetch(bench.work, job, bench.io)).result["width"] == 40
        assert len(bench.fal.ledger.jobs()) == 1

    @pytest.mark.parametrize("fault", [*NO_ANSWER, Fault.REFUSED])
    async def test_a_list_call_without_an_answer_raises_call_failed(self, bench: Bench, fault: Fault) -> None:
        bench.fal.plan("list", fault)
        with pytest.raises(CallFailed):
            await bench.provider().reconcile(bench.work, bench.sent({}))


class TestSecrets:
    async def test_no_error_and_no_log_shows_the_key(self, bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        secret = "some-long-id:some-long-secret"
        job = await bench.submitted()
        provider = bench.provider(key=secret)
        calls = [
            provider.submit(bench.work, Request(model=FLUX, body={}), bench.io),
            provider.poll(bench.work, job),
            provider.fetch(bench.work, job, bench.io),
            provider.cancel(bench.work, job),
            provider.reconcile(bench.work, bench.sent({})),
        ]
        errors = [(await asyncio.gather(call, return_exceptions=True))[0] for call in calls]
        assert [type(error) for error in errors] == [AttemptError, *[CallFailed] * 4]
        for text in [*map(str, errors), repr(provider), caplog.text]:
            assert "some-long-secret" not in text

    async def test_the_secret_half_of_a_key_is_masked(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        answer_with(monkeypatch, {"detail": f"there is no {KEY.partition(':')[2]}"}, 403)
        with pytest.raises(CallFailed, match=r"403: there is no \*\*\*$"):
            await bench.provider().poll(bench.work, Job(id="x"))


class TestWebhooks:
    @pytest.mark.parametrize(("mode", "times"), [("none", 0), ("once", 1), ("duplicate", 2), ("early", 1)])
    async def test_a_callback_names_the_job(self, bench: Bench, mode: Any, times: int) -> None:
        bench.fal.webhook = mode
        received: list[dict[str, Any]] = []

        async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
            received.append(json.loads(await reader.readexactly(length)))
            writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
            await writer.drain()
            writer.close()

        async with await asyncio.start_server(listen, "127.0.0.1", 0) as server:
            address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/cb"
            work = attempt(prompt="x", callback_url=address)
            job = await bench.submitted(work)
            assert len(received) == (mode == "early")
            await bench.provider().poll(work, job)
        assert [(notice["request_id"], notice["status"]) for notice in received] == [(job.id, "OK")] * times
        for notice in received:
            called_job = bench.provider().called_back(json.dumps(notice).encode())
            assert called_job == Job(id=job.id)
            assert (await bench.provider().poll(work, called_job)).status is JobStatus.SUCCEEDED
        assert bench.fal.callback_statuses == [204] * times

    @pytest.mark.parametrize(
        "body", [b"", b"{}", b"[]", b'{"request_id": ""}', b'{"request_id": 5}', b"\xff", b"[" * 9999]
    )
    def test_an_unreadable_callback_names_no_job(self, bench: Bench, body: bytes) -> None:
        assert bench.provider().called_back(body) is None
