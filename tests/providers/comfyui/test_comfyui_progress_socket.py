"""COMFYUI: progress over the server's socket, which all polled jobs use, and polls without it."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from anyio import create_task_group, fail_after, sleep

from providers.comfyui.comfyui_cases import TOKEN, attempt, poll_until_ended, provider_at, socket_of, submit
from stepwell.basics.errors import CallFailed
from stepwell.ports.providers import Job, JobState, JobStatus
from stepwell.providers.comfyui.progress_socket import MAX_MESSAGE, ProgressSocket
from stepwell.providers.comfyui.provider import ComfyUiProvider
from support.emulators.base import Call, Fault, Reply
from support.emulators.comfyui import ComfyUiEmulator


@pytest.fixture
async def provider(emulator: ComfyUiEmulator, client: httpx.AsyncClient) -> AsyncIterator[ComfyUiProvider]:
    provider = provider_at(emulator, client)
    socket_of(provider).wait_s, socket_of(provider).pause_s = 5.0, 0.02
    yield provider
    provider.close()


async def eventually(holds: Callable[[], bool]) -> None:
    with fail_after(60):
        while not holds():
            await sleep(0.005)


async def held_job(provider: ComfyUiProvider, emulator: ComfyUiEmulator, number: int = 0) -> Job:
    """One that runs and doesn't end, with the socket open."""
    emulator.held = True
    job = await submit(provider, attempt(number=number))
    state = await provider.poll(attempt(), job)
    assert (state.status, state.again_s, len(emulator.sockets.open)) == (JobStatus.RUNNING, 0.0, 1)
    return job


def tell(emulator: ComfyUiEmulator, job: Job, node: str, value: float) -> None:
    state = {"value": value, "max": 10, "state": "running", "display_node_id": node}
    emulator.sockets.tell("progress_state", {"prompt_id": job.id, "nodes": {node: state}})


class TestProgress:
    @pytest.mark.parametrize("tells", ["progress_state", "progress"])
    async def test_the_progress_grows_until_the_end(
        self, provider: ComfyUiProvider, emulator: ComfyUiEmulator, tells: Any
    ) -> None:
        emulator.tells, emulator.polls_until_done = tells, 12
        job, states = await submit(provider), list[JobState]()
        while not states or states[-1].status is JobStatus.RUNNING:
            states.append(await provider.poll(attempt(), job))
        assert states[-1] == JobState(status=JobStatus.SUCCEEDED, word="success")
        progress = [state.progress for state in states[:-1] if state.progress is not None]
        assert progress == sorted(progress)
        assert len(set(progress)) > 5
        assert progress[-1] <= 1
        assert {state.again_s for state in states[:-1]} == {0.0}
        assert {"Sampler", "Save Image", "4"} & {state.word for state in states}
        # What the socket tells needn't be asked for.
        assert emulator.count("poll") < len(states)
        assert (emulator.count("socket"), emulator.count("submit")) == (1, 1)
        await eventually(lambda: not emulator.sockets.open)

    async def test_a_poll_waits_for_news(self, provider: ComfyUiProvider, emulator: ComfyUiEmulator) -> None:
        job = await held_job(provider, emulator)
        async with create_task_group() as group:
            states: list[JobState] = []

            async def polls() -> None:
                states.append(await provider.poll(attempt(), job))

            group.start_soon(polls)
            await eventually(lambda: socket_of(provider).is_reading)
            assert states == []
            tell(emulator, job, "3", 4)
        assert states == [JobState(status=JobStatus.RUNNING, word="Sampler", progress=0.4 / 7, again_s=0.0)]
        assert emulator.count("poll") == 1

    async def test_without_news_in_time_a_poll_reads_the_history(
        self, provider: ComfyUiProvider, emulator: ComfyUiEmulator
    ) -> None:
        job = await held_job(provider, emulator)
        socket_of(provider).wait_s = 0.02
        assert await provider.poll(attempt(), job) == JobState(status=JobStatus.RUNNING, word="running", again_s=0.0)
        assert emulator.count("poll") == 2

    async def test_the_end_of_a_job_ends_the_wait_of_a_poll(
        self, provider: ComfyUiProvider, emulator: ComfyUiEmulator
    ) -> None:
        job = await held_job(provider, emulator)
        await emulator.finish(job.id)
        assert (await poll_until_ended(provider, job)).status is JobStatus.SUCCEEDED
        job = await held_job(provider, emulator, 1)
        emulator.interrupt(emulator.runs[job.id])
        assert (await poll_until_ended(provider, job)).status is JobStatus.CANCELLED
        job = await held_job(provider, emulator, 2)
        emulator.held = False
        assert (await poll_until_ended(provider, job)).status is JobStatus.SUCCEEDED

    async def test_a_job_that_the_server_lost_is_forgotten(
        self, provider: ComfyUiProvider, emulator: ComfyUiEmulator
    ) -> None:
        job = await held_job(provider, emulator)
        emulator.forget(job.id)
        with pytest.raises(CallFailed) as failure:
            await provider.poll(attempt(), job)
        assert failure.value.forgotten
        await eventually(lambda: not emulator.sockets.open)

    async def test_a_job_of_an_earlier_process_is_polled_without_progress(
        self, provider: ComfyUiProvider, emulator: ComfyUiEmulator, client: httpx.AsyncClient
    ) -> None:
        job = await submit(provider_at(emulator, client))
        emulator.held = True
        socket_of(provider).wait_s = 0.02
        for _ in range(2):
            assert (await provider.poll(attempt(absent=None), job)).progress is None
        emulator.held = False
        assert (await poll_until_ended(provider, job)).status is JobStatus.SUCCEEDED


class TestTogether:
    async def test_all_jobs_share_one_socket(self, provider: ComfyUiProvider, emulator: ComfyUiEmulator) -> None:
        emulator.polls_until_done = 10
        jobs = [await submit(provider, attempt(number=number)) for number in range(8)]
        progress: dict[str, list[float]] = {job.id: [] for job in jobs}

        async def follow(job: Job) -> None:
            state = await provider.poll(attempt(), job)
            while state.status is JobStatus.RUNNING:
                progress[job.id] += [state.progress] if state.progress else []
                state = await provider.poll(attempt(), job)
            assert state.status is JobStatus.SUCCEEDED

        with fail_after(60):
            async with create_task_group() as group:
                for job in jobs:
                    group.start_soon(follow, job)
        assert emulator.count("socket") == 1
        assert any(progress.values())
        assert all(values == sorted(values) for values in progress.values())
        assert socket_of(provider).watches == {}

    async def test_another_poll_reads_when_the_reading_one_is_cancelled(
        self, provider: ComfyUiProvider, emulator: ComfyUiEmulator
    ) -> None:
        first, second = [await held_job(provider, emulator, number) for number in range(2)]
        progress_socket = socket_of(provider)
        for leaves, stays in ((first, second), (second, first)):
            reading = asyncio.ensure_future(provider.poll(attempt(), leaves))
            await eventually(lambda: progress_socket.is_reading and not progress_socket.waiting)
            waiting = asyncio.ensure_future(provider.poll(attempt(), stays))
            await eventually(lambda: len(progress_socket.waiting) == 1)
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
            tell(emulator, stays, "3", 5 if stays is second else 9)
            assert (await waiting).word == "Sampler"
        assert (emulator.count("socket"), emulator.count("poll")) == (1, 2)

    async def test_a_waiting_poll_can_be_cancelled(self, provider: ComfyUiProvider, emulator: ComfyUiEmulator) -> None:
        jobs = [await held_job(provider, emulator, number) for number in range(3)]
        progress_socket = socket_of(provider)
        polls = []
        for place, job in enumerate(jobs):
            polls.append(asyncio.ensure_future(provider.poll(attempt(), job)))
            await eventually(lambda place=place: progress_socket.is_reading and len(progress_socket.waiting) == place)  # type: ignore[misc]
        # The reader and the next one go in the same moment.
        polls[0].cancel()
        polls[1].cancel()
        tell(emulator, jobs[2], "3", 5)
        assert (await polls[2]).progress == 0.5 / 7
        await asyncio.gather(*polls, return_exceptions=True)

    async def test_the_socket_is_closed_when_the_last_poll_is_cancelled(
        self, provider: ComfyUiProvider, emulator: ComfyUiEmulator
    ) -> None:
        job = await held_job(provider, emulator)
        poll = asyncio.ensure_future(provider.poll(attempt(), job))
        await eventually(lambda: socket_of(provider).is_reading)
        poll.cancel()
        with pytest.raises(asyncio.CancelledError):
            await poll
        await eventually(lambda: not emulator.sockets.open)
        socket_of(provider).wait_s = 0.02
        assert (await provider.poll(attempt(), job)).again_s == 0.0
        assert emulator.count("socket") == 2

    async def test_an_unused_socket_is_closed(self, provider: ComfyUiProvider, emulator: ComfyUiEmulator) -> None:
        socket_of(provider).idle_s = 0.03
        await held_job(provider, emulator)
        await eventually(lambda: not emulator.sockets.open)

    async def test_only_the_last_jobs_are_remembered(self) -> None:
        progress_socket = ProgressSocket("http://127.0.0.1:1", {}, max_watches=2)
        for job_id in ("1", "2", "3"):
            with progress_socket.watch(job_id, frozenset):
                pass
        assert progress_socket.watches.keys() == {"2", "3"}

    async def test_each_credential_has_its_own_socket(self, tmp_path: Path, client: httpx.AsyncClient) -> None:
        (tmp_path / "behind").mkdir()
        async with ComfyUiEmulator(tmp_path / "behind", token=TOKEN) as emulator:
            provider = provider_at(emulator, client)
            job = await held_job(provider, emulator)
            other = attempt(config={"credential": "comfyui_b"})
            assert provider.server(other).progress_socket.client_id != socket_of(provider).client_id
            assert await provider.server(other).progress_socket.ensure_open() is False
            sockets = [call.headers["authorization"] for call in emulator.calls if call.kind == "socket"]
            assert sockets == [f"Bearer {TOKEN}", "Bearer another token"]
            await emulator.finish(job.id)
            assert (await poll_until_ended(provider, job)).status is JobStatus.SUCCEEDED


class TestWithout:
    @pytest.mark.parametrize("fault", [Fault.LOSE_BEFORE, Fault.REFUSED, Fault.GATEWAY_BEFORE])
    async def test_jobs_are_polled_without_a_socket(
        self, provider: ComfyUiProvider, emulator: ComfyUiEmulator, fault: Fault
    ) -> None:
        socket_of(provider).pause_s = 60.0
        emulator.always("socket", fault)
        emulator.polls_until_done = 4
        job = await submit(provider)
        for _ in range(3):
            state = await provider.poll(attempt(), job)
            assert (state.status, state.again_s, state.progress) == (JobStatus.RUNNING, None, None)
        assert (await provider.poll(attempt(), job)).status is JobStatus.SUCCEEDED
        assert (emulator.count("socket"), emulator.count("poll")) == (1, 4)

    async def test_the_pauses_between_failed_connections_grow(
        self, provider: ComfyUiProvider, emulator: ComfyUiEmulator
    ) -> None:
        progress_socket = socket_of(provider)
        emulator.plan("socket", *[Fault.REFUSED] * 3)
        emulator.held = True
        job, pauses = await submit(provider), []
        while (await provider.poll(attempt(), job)).again_s is None:
            pauses.append(progress_socket.next_try)
            await sleep(0.005)
        assert emulator.count("socket") == 4
        assert len(set(pauses)) == 3
        tell(emulator, job, "3", 5)
        assert (await provider.poll(attempt(), job)).progress == 0.5 / 7
        assert progress_socket.failures == 0

    async def test_polls_continue_when_the_socket_is_lost(
        self, provider: ComfyUiProvider, emulator: ComfyUiEmulator
    ) -> None:
        jobs = [await held_job(provider, emulator, number) for number in range(2)]
        socket_of(provider).pause_s = 60.0
        polls = [asyncio.ensure_future(provider.poll(attempt(), job)) for job in jobs]
        await eventually(lambda: socket_of(provider).is_reading and len(socket_of(provider).waiting) == 1)
        emulator.sockets.cut()
        for state in await asyncio.gather(*polls):
            assert (state.status, state.again_s) == (JobStatus.RUNNING, None)
        socket_of(provider).next_try = 0.0
        assert (await provider.poll(attempt(), jobs[0])).again_s == 0.0
        assert emulator.count("socket") == 2

    async def test_a_failed_connection_is_counted(self, emulator: ComfyUiEmulator, client: httpx.AsyncClient) -> None:
        progress_socket = socket_of(provider_at(emulator, client, url="http://127.0.0.1:1"))
        assert await progress_socket.ensure_open() is False
        assert progress_socket.failures == 1

    async def test_the_key_is_not_sent_to_a_redirects_target(self, tmp_path: Path, client: httpx.AsyncClient) -> None:
        for name in ("one", "other"):
            (tmp_path / name).mkdir()
        async with (
            Redirecting(tmp_path / "one", token=TOKEN) as emulator,
            ComfyUiEmulator(tmp_path / "other") as other,
        ):
            emulator.target = f"{other.url.replace('http', 'ws')}/ws"
            assert await socket_of(provider_at(emulator, client)).ensure_open() is False
            assert (emulator.count("socket"), other.calls) == (1, [])


class Redirecting(ComfyUiEmulator):
    target = ""

    async def takes_over(self, *_: Any) -> bool:
        return False

    async def answer(self, call: Call) -> Reply:  # noqa: ARG002 - the base's
        return Reply(302, b"", {"Location": self.target})


class TestWhatItSays:
    async def test_unreadable_messages_are_ignored(self, provider: ComfyUiProvider, emulator: ComfyUiEmulator) -> None:
        job = await held_job(provider, emulator)
        garbage: list[Any] = [
            5,
            {},
            {"type": "status"},
            {"type": "status", "data": {"status": 5}},
            {"type": 5, "data": {}},
            {"type": "progress_state", "data": {"prompt_id": "another", "nodes": {}}},
            {"type": "progress_state", "data": {"prompt_id": job.id, "nodes": 5}},
            {"type": "progress_state", "data": {"prompt_id": job.id, "nodes": {"3": 5, "99": {"value": 1, "max": 1}}}},
            {"type": "progress", "data": {"prompt_id": job.id, "node": "3", "value": float("nan"), "max": 1}},
            {"type": "progress", "data": {"prompt_id": job.id, "node": ["3"], "value": 1, "max": 0}},
            {"type": "execution_cached", "data": {"prompt_id": job.id, "nodes": 5}},
            {"type": "progress_text", "data": {"prompt_id": [job.id]}},
        ]
        for message in garbage:
            emulator.sockets.send(json.dumps(message))
        emulator.sockets.send("{" * 10_000)
        emulator.sockets.send("no JSON")
        emulator.sockets.send(b"\x00\x00\x00\x01\x00\x00\x00\x02" + bytes(2_000_000))
        emulator.sockets.send(b'{"type": "\xff"}')
        tell(emulator, job, "3", 5)
        assert (await provider.poll(attempt(), job)).progress == 0.5 / 7
        assert emulator.count("socket") == 1

    async def test_a_message_that_is_too_large_closes_the_socket(
        self, provider: ComfyUiProvider, emulator: ComfyUiEmulator
    ) -> None:
        job = await held_job(provider, emulator)
        socket_of(provider).pause_s = 60.0
        emulator.sockets.send(bytes(MAX_MESSAGE + 1))
        assert (await provider.poll(attempt(), job)).again_s is None
