"""The client repeats what is safe to repeat, for a bounded time, and nothing else."""

import asyncio
import io
import pickle
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from client.responses import ARTIFACT, Clock
from stepwell.client import (
    AsyncStepwell,
    Conflict,
    ConnectionFailed,
    StepwellError,
    TooManyRequests,
    Unauthorized,
    Unavailable,
    UnexpectedResponse,
    WaitTimeout,
)
from stepwell.contract.enums import WorkflowStatus

Call = Callable[[AsyncStepwell], Awaitable[Any]]
ID = "00000000-0000-0000-0000-000000000007"
WORKFLOW: dict[str, Any] = {
    "id": ID,
    "name": "n",
    "status": "COMPLETED",
    "total_steps": 1,
    "completed_steps": 1,
    "progress": 100,
    "config": {},
    "suppress_subtask_events": True,
    "origin_instance": "tests",
    "errors": [],
    "created_at": "2026-01-01T00:00:00Z",
    "updated_at": "2026-01-01T00:00:00Z",
}
OK = httpx.Response(200, json=WORKFLOW)
UPLOADED = httpx.Response(201, json={"artifacts": [ARTIFACT]})
SOON = {"Retry-After": "0"}
CREATE: Call = lambda client: client.create({"name": "n"})  # noqa: E731
DELETE: Call = lambda client: client.delete_data(ID)  # noqa: E731
GET: Call = lambda client: client.get(ID)  # noqa: E731
LOST = httpx.ReadError("lost")
REFUSED = httpx.ConnectError("refused")


class Service:
    """Responds to requests in turn, and keeps them with their bodies."""

    def __init__(self, *responses: httpx.Response | Exception) -> None:
        self.responses, self.requests = list(responses), list[httpx.Request]()

    async def respond(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        self.requests.append(request)
        response = self.responses.pop(0)
        if isinstance(response, Exception):
            raise response
        return response


@asynccontextmanager
async def client_of(service: Service, **settings: Any) -> AsyncIterator[AsyncStepwell]:
    transport = httpx.MockTransport(service.respond)
    async with AsyncStepwell("http://t.local", token="secret-token", transport=transport, **settings) as client:
        yield client


PASSING: list[httpx.Response | Exception] = [
    REFUSED,
    LOST,
    httpx.ReadTimeout("silent"),
    httpx.RemoteProtocolError("cut"),
    httpx.Response(502),
    httpx.Response(503, headers=SOON),
    httpx.Response(504, text="<html>"),
    httpx.Response(429, headers=SOON),
]


@pytest.mark.parametrize("call", [GET, CREATE], ids=["get", "create"])
@pytest.mark.parametrize("failure", PASSING, ids=repr)
async def test_a_request_that_has_its_effect_once_is_repeated(call: Call, failure: httpx.Response | Exception) -> None:
    service = Service(failure, OK)
    async with client_of(service) as client:
        assert (await call(client)).status is WorkflowStatus.COMPLETED
    keys = {request.headers.get("Idempotency-Key") for request in service.requests}
    assert (len(service.requests), len(keys)) == (2, 1)
    assert (keys == {None}) == (call is GET)


async def test_each_call_has_an_idempotency_key_of_its_own_unless_it_is_given() -> None:
    service = Service(OK, OK, OK)
    async with client_of(service) as client:
        await client.create({"name": "n"})
        await client.create({"name": "n"})
        await client.create({"name": "n"}, idempotency_key="mine")
    keys = [request.headers["Idempotency-Key"] for request in service.requests]
    assert len(set(keys)) == 3
    assert keys[2] == "mine"


async def test_a_create_waits_for_its_first_try_that_is_still_worked_on() -> None:
    async with client_of(Service(LOST, httpx.Response(409, headers=SOON), OK)) as client:
        assert (await client.create({"name": "n"})).status is WorkflowStatus.COMPLETED


@pytest.mark.parametrize("failure", [LOST, httpx.Response(503, headers=SOON)], ids=repr)
async def test_a_request_without_a_key_is_never_repeated(failure: httpx.Response | Exception) -> None:
    service = Service(failure)
    async with client_of(service) as client:
        with pytest.raises((ConnectionFailed, Unavailable)):
            await DELETE(client)


async def test_a_request_that_was_not_sent_is_sent() -> None:
    response = httpx.Response(200, json={"id": ID, "files_deleted": 2, "pending": False})
    async with client_of(Service(REFUSED, response)) as client:
        assert (await client.delete_data(ID)).files_deleted == 2


@pytest.mark.parametrize(
    ("response", "error"),
    [
        (httpx.Response(429, headers={"Retry-After": "3600"}), TooManyRequests),
        (httpx.Response(503, headers={"Retry-After": "3600"}), Unavailable),
        (httpx.Response(429), TooManyRequests),
        (httpx.Response(409), Conflict),
        (httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] bad"), ConnectionFailed),
    ],
    ids=repr,
)
async def test_what_another_try_would_not_change_in_time_is_raised_at_once(
    response: httpx.Response | Exception, error: type[StepwellError]
) -> None:
    async with client_of(Service(response)) as client:
        with pytest.raises(error) as raised:
            await client.get(ID)
    wanted = 3600 if isinstance(response, httpx.Response) and "Retry-After" in response.headers else None
    assert raised.value.retry_after_s == wanted


async def test_repeats_can_be_turned_off() -> None:
    async with client_of(Service(httpx.Response(502)), retry_s=0) as client:
        with pytest.raises(Unavailable):
            await client.get(ID)


async def test_a_wait_survives_a_restart_of_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    Clock(monkeypatch)
    running = httpx.Response(200, json=WORKFLOW | {"status": "RUNNING"})
    service = Service(LOST, REFUSED, httpx.Response(503, headers=SOON), running, OK)
    async with client_of(service, retry_s=0) as client:
        assert (await client.wait(ID)).status is WorkflowStatus.COMPLETED
    assert {request.headers["Prefer"] for request in service.requests} == {"wait=30"}


class SlowService(Service):
    """Responds to each request after *delay_s* of the clock."""

    def __init__(self, clock: Clock, delay_s: float, *responses: httpx.Response | Exception) -> None:
        super().__init__(*responses)
        self.clock, self.delay_s = clock, delay_s

    async def respond(self, request: httpx.Request) -> httpx.Response:
        self.clock.now += self.delay_s
        return await super().respond(request)


async def test_a_request_whose_first_try_was_silent_is_repeated_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    service = SlowService(Clock(monkeypatch), 30, httpx.ReadTimeout("silent"), OK)
    async with client_of(service) as client:
        assert (await client.create({"name": "n"})).status is WorkflowStatus.COMPLETED


async def test_repeats_pause_longer_and_longer_although_the_service_asks_for_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("stepwell.client.retries.random.uniform", lambda _, most: most)
    service = SlowService(Clock(monkeypatch), 0, *[httpx.Response(503, headers=SOON)] * 100)
    async with client_of(service) as client:
        with pytest.raises(Unavailable):
            await client.get(ID)
    assert len(service.requests) == 8


async def test_a_wait_that_is_repeated_asks_for_the_time_that_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stepwell.client.retries.random.uniform", lambda *_: 0)
    running = httpx.Response(200, json=WORKFLOW | {"status": "RUNNING"})
    service = SlowService(Clock(monkeypatch), 12, LOST, running, running, LOST)
    async with client_of(service) as client:
        with pytest.raises(WaitTimeout) as error:
            await client.wait(ID, timeout_s=35)
        assert error.value.workflow.status is WorkflowStatus.RUNNING
        assert [request.headers["Prefer"] for request in service.requests] == ["wait=30", "wait=23", "wait=11"]
        with pytest.raises(ConnectionFailed):
            await client.wait(ID, timeout_s=10)


async def test_a_wait_for_an_address_that_never_responds_ends_after_half_a_minute(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(monkeypatch)
    async with client_of(SlowService(clock, 0, *[REFUSED] * 100), retry_s=0) as client:
        with pytest.raises(ConnectionFailed):
            await client.wait(ID)
    assert clock.now <= 30


async def test_a_wait_for_a_service_that_has_responded_goes_on_for_ten_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    async with client_of(SlowService(clock, 0, OK, *[REFUSED] * 50, OK)) as client:
        await client.get(ID)
        assert (await client.wait(ID)).status is WorkflowStatus.COMPLETED
    assert 60 < clock.now < 600


async def test_a_wait_without_end_is_one_without_a_timeout() -> None:
    service = Service(OK, OK)
    async with client_of(service) as client:
        await client.create({"name": "n"}, wait=float("inf"))
        await client.wait(ID, timeout_s=float("inf"))
    assert [request.headers["Prefer"] for request in service.requests] == ["wait=30", "wait=30"]


async def test_the_error_of_a_wait_has_the_workflow_that_was_created() -> None:
    running = httpx.Response(200, json=WORKFLOW | {"status": "RUNNING"})
    async with client_of(Service(running, httpx.Response(401))) as client:
        with pytest.raises(Unauthorized) as error:
            await client.create({"name": "n"}, wait=60)
    assert error.value.workflow is not None
    assert str(error.value.workflow.id) == ID


async def test_an_upload_is_repeated_from_its_beginning_if_it_can_be_rewound(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"content")
    file = io.BytesIO(b"behind:content")
    file.seek(7)
    for content in (path, b"content", file):
        service = Service(LOST, UPLOADED)
        async with client_of(service) as client:
            assert (await client.upload(content)).path == "media/7/a.txt"
        assert [request.content for request in service.requests] == [b"content", b"content"]
        assert [request.headers["Content-Length"] for request in service.requests] == ["7", "7"]


async def test_an_upload_that_can_not_be_rewound_is_sent_once_in_chunks() -> None:
    sizes = []

    class Pipe:
        def read(self, size: int, /) -> bytes:
            sizes.append(size)
            return b"x" * size if len(sizes) < 5 else b""

    service = Service(LOST)
    async with client_of(service) as client:
        with pytest.raises(ConnectionFailed) as failed:
            await client.upload(Pipe())
    assert max(sizes) <= 1_000_000
    assert len(service.requests[0].content) == sum(sizes[:-1])
    async with client_of(Service()) as client:
        with pytest.raises(TypeError, match="binary mode"):
            await client.upload(io.StringIO("text"))  # type: ignore[arg-type]
    assert failed.value.was_sent


async def test_what_is_no_stream_of_events_is_not_read_again_and_again() -> None:
    async with client_of(Service(httpx.Response(200, html="<p>a portal</p>"))) as client:
        with pytest.raises(UnexpectedResponse, match="no stream of events"):
            await anext(client.events(ID))


async def test_errors_can_be_sent_to_other_processes() -> None:
    running = httpx.Response(200, json=WORKFLOW | {"status": "RUNNING"})
    refusal = httpx.Response(409, json={"type": "t", "title": "t", "status": 409, "detail": "d", "allowed_from": []})
    async with client_of(Service(running, refusal, LOST), retry_s=0) as client:
        for call in (client.wait(ID, timeout_s=0), client.cancel(ID), client.get(ID)):
            with pytest.raises(StepwellError) as raised:
                await call
            copy = pickle.loads(pickle.dumps(raised.value))
            assert (type(copy), str(copy)) == (type(raised.value), str(raised.value))
            assert vars(copy) == vars(raised.value)


async def test_the_token_is_in_no_error_and_no_text_and_goes_to_no_other_host() -> None:
    elsewhere = httpx.Response(307, headers={"Location": "http://other.local/"})
    service = Service(elsewhere, httpx.Response(401), LOST)
    async with client_of(service, retry_s=0) as client:
        texts = [repr(client)]
        for _ in range(3):
            with pytest.raises(StepwellError) as raised:
                await client.get(ID)
            texts += [str(raised.value), repr(raised.value), repr(raised.value.problem)]
    assert "http://other.local/" in "".join(texts)
    assert "secret-token" not in "".join(texts)
    assert {request.url.host for request in service.requests} == {"t.local"}
    with pytest.raises(ValueError, match="printable ASCII") as invalid:
        AsyncStepwell("http://t.local", token="secret-token\n")
    assert "secret-token" not in str(invalid.value)


async def test_requests_beyond_the_connections_wait_for_a_free_one() -> None:
    under_way = peak = 0

    async def respond(_: httpx.Request) -> httpx.Response:
        nonlocal under_way, peak
        under_way += 1
        peak = max(peak, under_way)
        for _iteration in range(5):
            await asyncio.sleep(0)
        under_way -= 1
        return httpx.Response(200, json=WORKFLOW)

    async with AsyncStepwell("http://t.local", transport=httpx.MockTransport(respond)) as client:
        done = await asyncio.gather(*(client.get(ID) for _ in range(1_000)))
    assert (len(done), peak) == (1_000, 256)
