"""What comes back from a submit, and what it means for the money: each row of the table in `submit_outcomes`, then
the same over real sockets.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec import Struct

from stepwell.basics.errors import AttemptError, CallFailed, OutcomeUnknown, StepwellError
from stepwell.outbound.http_client import origin_of, plain_client
from stepwell.providers.shared.bounded_json import read_json
from stepwell.providers.shared.provider_api import ApiAnswer, ProviderApi
from stepwell.providers.shared.submit_outcomes import SubmitOutcome, outcome_of_answer, outcome_of_error, raise_outcome
from support.emulators.base import Call, Emulator, Fault, Reply

MEBIBYTE = 1024 * 1024
OWN_WORDS = {"error": "not today"}
PAGE = b"<html><h1>A gateway's page</h1></html>"
NEVER_TAKEN = (408, 425, 429)
REFUSED = tuple(sorted({*range(300, 500)} - {*NEVER_TAKEN}))
GATEWAY = (502, 504)
FAILED = tuple(sorted({*range(500, 600)} - {*GATEWAY, 503}))


class Said(Struct, frozen=True):
    error: str


class Job(Struct, frozen=True):
    id: str


def words(body: bytes) -> str | None:
    """As the emulated provider documents its errors."""
    said = read_json(body, Said)
    return said.error if said else None


class Plain(Emulator):
    """Answers with `reply` whatever it is asked."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.reply = Reply(202, {"id": "job-1"})

    def kind_of(self, method: str, path: str, query: Mapping[str, str]) -> str:  # noqa: ARG002 - the base's
        return "submit" if method == "POST" else "poll"

    async def answer(self, call: Call) -> Reply:
        if call.kind == "submit":
            self.ledger.accept(f"job-{len(self.calls)}", call.path, call.json())
        return self.reply

    def error(self, status: int, message: str) -> Reply:
        return Reply(status, {"error": message})


@pytest.fixture
async def plain(tmp_path: Path) -> AsyncIterator[Plain]:
    async with Plain(tmp_path) as emulator:
        yield emulator


async def submitted(plain: Plain, *, timeout_s: float = 10.0, url: str | None = None) -> tuple[ApiAnswer, Job]:
    async with plain_client() as client:
        api = ProviderApi(client, "Somebody", words, timeout_s=timeout_s)
        return await api.submit(url or f"{plain.url}/jobs", b'{"a":1}', {"X-Key": "k"}, Job)


async def failure(plain: Plain, *, timeout_s: float = 10.0, url: str | None = None) -> tuple[Any, ...]:
    """What the submit raises: its kind, its words, and what a retry needs to know."""
    with pytest.raises(StepwellError) as caught:
        await submitted(plain, timeout_s=timeout_s, url=url)
    error = caught.value
    if isinstance(error, OutcomeUnknown):
        return "unknown", str(error)
    assert isinstance(error, AttemptError)
    assert error.provider_fault
    kind = "away" if error.provider_away else "retryable" if error.retryable else "refused"
    return kind, str(error), error.retry_after_s


class TestTable:
    @pytest.mark.parametrize(
        ("statuses", "own", "gateways"),
        [
            (NEVER_TAKEN, SubmitOutcome.NOT_ACCEPTED, SubmitOutcome.NOT_ACCEPTED),
            ((503,), SubmitOutcome.NOT_ACCEPTED, SubmitOutcome.UNKNOWN),
            (REFUSED, SubmitOutcome.REFUSED, SubmitOutcome.REFUSED),
            (FAILED, SubmitOutcome.FAILED, SubmitOutcome.UNKNOWN),
            (tuple(range(200, 300)), SubmitOutcome.ACCEPTED, SubmitOutcome.UNKNOWN),
            (GATEWAY, SubmitOutcome.UNKNOWN, SubmitOutcome.UNKNOWN),
            ((100, 101, 199, 600, 999), SubmitOutcome.UNKNOWN, SubmitOutcome.UNKNOWN),
        ],
    )
    def test_each_status_has_the_outcome_of_the_table(
        self, statuses: tuple[int, ...], own: SubmitOutcome, gateways: SubmitOutcome
    ) -> None:
        for readable, expected in ((True, own), (False, gateways)):
            outcomes = {each: outcome_of_answer(each, readable=readable, retry_after=False) for each in statuses}
            assert outcomes == dict.fromkeys(statuses, expected)
            outcomes = {each: outcome_of_answer(each, readable=readable, retry_after=True) for each in statuses}
            assert outcomes == {each: SubmitOutcome.AWAY if each == 503 else expected for each in statuses}

    @pytest.mark.parametrize(
        "error", [httpx.ConnectError("refused"), httpx.ConnectTimeout("slow"), httpx.ProxyError("no")]
    )
    def test_errors_without_a_connection_mean_away(self, error: Exception) -> None:
        assert outcome_of_error(error) is SubmitOutcome.AWAY

    @pytest.mark.parametrize(
        "error",
        [
            httpx.PoolTimeout("all taken"),
            httpx.UnsupportedProtocol("ftp"),
            httpx.LocalProtocolError("a header"),
            httpx.InvalidURL("none"),
        ],
    )
    def test_errors_before_the_request_mean_not_sent(self, error: Exception) -> None:
        assert outcome_of_error(error) is SubmitOutcome.NOT_SENT

    @pytest.mark.parametrize(
        "error",
        [
            httpx.ReadError("reset"),
            httpx.ReadTimeout("slow"),
            httpx.WriteError("reset"),  # the other side may have read enough
            httpx.WriteTimeout("slow"),
            httpx.CloseError("reset"),
            httpx.RemoteProtocolError("closed"),
            httpx.DecodingError("odd"),
            httpx.TooManyRedirects("round"),
            httpx.NetworkError("any"),
            httpx.TimeoutException("any"),
            httpx.HTTPError("any"),
            TimeoutError(),
            ConnectionResetError(),
            OSError(),
        ],
    )
    def test_errors_after_the_request_mean_unknown(self, error: Exception) -> None:
        assert outcome_of_error(error) is SubmitOutcome.UNKNOWN

    @pytest.mark.parametrize(
        "outcome",
        [SubmitOutcome.AWAY, SubmitOutcome.NOT_SENT, SubmitOutcome.NOT_ACCEPTED, SubmitOutcome.FAILED],
    )
    def test_outcomes_that_a_retry_may_change_raise_a_retryable_error(self, outcome: SubmitOutcome) -> None:
        with pytest.raises(AttemptError, match=r"\AA: why\Z") as caught:
            raise_outcome(outcome, "A", "why", 7.5)
        error = caught.value
        assert (error.retryable, error.provider_fault, error.retry_after_s) == (True, True, 7.5)
        assert error.provider_away is (outcome is SubmitOutcome.AWAY)

    def test_a_refusal_raises_an_error_that_is_not_retryable(self) -> None:
        with pytest.raises(AttemptError, match=r"\AA: why\Z") as caught:
            raise_outcome(SubmitOutcome.REFUSED, "A", "why", 7.5)
        error = caught.value
        assert (error.retryable, error.provider_fault, error.retry_after_s) == (False, True, None)

    def test_an_unknown_outcome_raises_outcome_unknown(self) -> None:
        with pytest.raises(OutcomeUnknown, match=r"\AA: why\Z"):
            raise_outcome(SubmitOutcome.UNKNOWN, "A", "why", 7.5)

    def test_messages_are_sanitised_and_bounded(self) -> None:
        with pytest.raises(OutcomeUnknown) as caught:
            raise_outcome(SubmitOutcome.UNKNOWN, "A", "x\x00\x1b[31m\ud800" + "é" * 1_000)
        message = str(caught.value)
        assert message.startswith("A: x  [31m")
        assert message.isprintable()
        assert 450 < len(message.encode()) <= 500


class TestSubmit:
    async def test_an_accepted_submit_returns_the_job(self, plain: Plain) -> None:
        answer, job = await submitted(plain)
        (call,) = plain.calls
        assert (answer.status, job) == (202, Job("job-1"))
        assert (call.method, call.path, call.body) == ("POST", "/jobs", b'{"a":1}')
        expected = {
            "accept": "application/json",
            "accept-encoding": "identity",
            "content-type": "application/json",
            "user-agent": "stepwell",
            "x-key": "k",
        }
        assert {name: call.headers[name] for name in expected} == expected
        assert "cookie" not in call.headers

    @pytest.mark.parametrize("status", [200, 201, 202])
    @pytest.mark.parametrize(
        "body", [PAGE, b"", b'{"id":', b"{}", b'{"id": 5}', b"[]", b'{"id": "\xff"}', b"[" * 100_000]
    )
    async def test_a_success_that_cannot_be_read(self, plain: Plain, status: int, body: bytes) -> None:
        plain.reply = Reply(status, body)
        expected = f"Somebody: the submit was answered {status} without an error message"
        assert await failure(plain) == ("unknown", expected)

    async def test_a_success_with_an_error_in_it_is_no_error(self, plain: Plain) -> None:
        plain.reply = Reply(200, OWN_WORDS)
        assert (await failure(plain))[0] == "unknown"

    @pytest.mark.parametrize(
        ("status", "own", "gateways"),
        [
            (307, "refused", "refused"),
            (400, "refused", "refused"),
            (401, "refused", "refused"),
            (404, "refused", "refused"),
            (408, "retryable", "retryable"),
            (422, "refused", "refused"),
            (425, "retryable", "retryable"),
            (429, "retryable", "retryable"),
            (500, "retryable", "unknown"),
            (501, "retryable", "unknown"),
            (502, "unknown", "unknown"),
            (503, "retryable", "unknown"),
            (504, "unknown", "unknown"),
            (599, "retryable", "unknown"),
        ],
    )
    async def test_a_status_in_the_providers_words_differs_from_a_gateways(
        self, plain: Plain, status: int, own: str, gateways: str
    ) -> None:
        # A redirect isn't followed, wherever it leads.
        plain.reply = Reply(status, OWN_WORDS, {"Location": f"{plain.url}/elsewhere"})
        assert (await failure(plain))[:2] == (own, f"Somebody: the submit was answered {status}: not today")
        plain.reply = Reply(status, PAGE, {"Location": f"{plain.url}/elsewhere"})
        bare = f"Somebody: the submit was answered {status} without an error message"
        assert (await failure(plain))[:2] == (gateways, bare)
        assert [call.path for call in plain.calls] == ["/jobs", "/jobs"]

    @pytest.mark.parametrize("scheme", ["http", "https"])
    async def test_a_refused_connection_names_host_and_port(self, plain: Plain, unused_port: int, scheme: str) -> None:
        error = await failure(plain, url=f"{scheme}://127.0.0.1:{unused_port}/jobs?key=canary")
        words = f"no connection to 127.0.0.1:{unused_port}: connection refused"
        assert error == ("away", f"Somebody: the submit was not sent: {words}", None)

    async def test_a_failed_tls_handshake_is_reported_as_such(self, plain: Plain) -> None:
        kind, why, after = await failure(plain, url=plain.url.replace("http:", "https:"))
        words = f"Somebody: the submit was not sent: no connection to {plain.url.removeprefix('http://')}: TLS failed ("
        assert (kind, why[: len(words)], after) == ("away", words, None)
        assert plain.calls == []

    async def test_a_name_that_does_not_resolve_is_reported_as_such(self, plain: Plain) -> None:
        kind, why, after = await failure(plain, url="http://nobody.invalid/jobs")
        assert (kind, after) == ("away", None)
        assert why in {
            f"Somebody: the submit was not sent: no connection to nobody.invalid:80: {cause}"
            for cause in ("DNS doesn't know the name", "the name can't be resolved: DNS doesn't answer")
        }

    @pytest.mark.parametrize(("url", "why"), [("ftp://h/x", "UnsupportedProtocol"), ("http://h:x/", "InvalidURL")])
    async def test_an_invalid_url_is_reported_as_not_sent(self, plain: Plain, url: str, why: str) -> None:
        error = await failure(plain, url=url)
        assert error == ("retryable", f"Somebody: the submit got no answer ({why})", None)

    @pytest.mark.parametrize(
        ("fault", "raised"),
        [
            (Fault.LOSE_BEFORE, ("unknown", "the submit got no answer (RemoteProtocolError)")),
            (Fault.LOSE_AFTER, ("unknown", "the submit got no answer (RemoteProtocolError)")),
            (Fault.TRUNCATE_AFTER, ("unknown", "the submit got no answer (RemoteProtocolError)")),
            (Fault.HUGE_AFTER, ("unknown", "the submit got no answer (TooBig)")),
            (Fault.GARBAGE_AFTER, ("unknown", "the submit was answered 200 without an error message")),
            (Fault.GATEWAY_BEFORE, ("unknown", "the submit was answered 502 without an error message")),
            (Fault.GATEWAY_AFTER, ("unknown", "the submit was answered 502 without an error message")),
            (Fault.BUSY, ("retryable", "the submit was answered 429: too many requests", 0.0)),
            (Fault.AWAY, ("away", "the submit was answered 503: come back later", 1.0)),
            (Fault.UNAVAILABLE, ("retryable", "the submit was answered 503: no capacity", None)),
            (Fault.BROKEN, ("retryable", "the submit was answered 500: something broke", None)),
            (Fault.REFUSED, ("refused", "the submit was answered 422: this can't be done", None)),
        ],
    )
    async def test_each_fault_has_its_outcome(self, plain: Plain, fault: Fault, raised: tuple[Any, ...]) -> None:
        plain.plan("submit", fault)
        kind, why, *more = raised
        assert await failure(plain) == (kind, f"Somebody: {why}", *more)
        assert plain.count("submit") == 1

    @pytest.mark.parametrize("host", ["a..b", f"{'a' * 64}.example"])
    async def test_an_invalid_host_name_is_one_that_does_not_resolve(self, plain: Plain, host: str) -> None:
        kind, why, _ = await failure(plain, url=f"http://{host}")
        assert (kind, why.startswith("Somebody: ")) == ("away", True)

    @pytest.mark.parametrize(
        "address", ["http://xn--/", "http://xn--a/", "http://xn--zzzzzzzz.example/", "http://[::1/"]
    )
    def test_an_address_without_a_valid_host_has_no_origin(self, address: str) -> None:
        assert origin_of(address) is None

    @pytest.mark.parametrize("fault", [Fault.HANG_AFTER, Fault.DRIP_AFTER])
    async def test_the_deadline_is_for_the_whole_call(self, plain: Plain, fault: Fault) -> None:
        plain.plan("submit", fault)  # each dripped byte is there long before a timeout of one read
        kind, why = await failure(plain)
        assert (kind, why.startswith("Somebody: the submit got no answer (")) == ("unknown", True)
        assert len(plain.ledger.jobs()) == 1

    @pytest.mark.parametrize(("size", "fits"), [(8 * MEBIBYTE, True), (8 * MEBIBYTE + 1, False)])
    async def test_an_answer_up_to_the_limit_is_read_and_a_larger_one_is_not(
        self, plain: Plain, size: int, *, fits: bool
    ) -> None:
        job = b'{"id":"job-1"}'
        plain.reply = Reply(202, b" " * (size - len(job)) + job)
        if fits:
            assert (await submitted(plain))[1] == Job("job-1")
        else:
            assert await failure(plain) == ("unknown", "Somebody: the submit got no answer (TooBig)")

    async def test_a_submit_without_a_free_connection_was_not_sent(self, plain: Plain) -> None:
        plain.plan("submit", Fault.HANG_AFTER)
        plain.skip_time = None
        limits = httpx.Limits(max_connections=1)
        async with httpx.AsyncClient(limits=limits, trust_env=False) as client, asyncio.TaskGroup() as group:
            patient = ProviderApi(client, "Somebody", words)
            first = group.create_task(patient.submit(f"{plain.url}/jobs", b"{}", {}, Job))
            while not plain.calls:
                await asyncio.sleep(0.002)
            hasty = ProviderApi(client, "Somebody", words, timeout_s=0.2)
            with pytest.raises(AttemptError, match="PoolTimeout") as caught:
                await hasty.submit(f"{plain.url}/jobs", b"{}", {}, Job)
            plain.let_go()
        assert caught.value.retryable
        assert (first.result()[1], plain.count("submit")) == (Job("job-1"), 1)


DATE = "Wed, 21 Oct 2015 07:28:00 GMT"
WAITS = [
    ({"Retry-After": "0"}, 0.0),
    ({"Retry-After": "17"}, 17.0),
    ({"Retry-After": "3601"}, 3600.0),
    ({"Retry-After": str(10**9)}, 3600.0),
    ({"Retry-After": "9" * 5_000}, 3600.0),
    ({"Retry-After": "-1"}, None),
    ({"Retry-After": "1.5"}, None),
    ({"Retry-After": "1e3"}, None),
    ({"Retry-After": "soon"}, None),
    ({"Retry-After": ""}, None),
    ({}, None),
    ({"Retry-After": "Wed, 21 Oct 2015 07:28:42 GMT", "Date": DATE}, 42.0),
    ({"Retry-After": "Wed, 21 Oct 2015 09:28:42 +0200", "Date": DATE}, 42.0),
    ({"Retry-After": "Wed, 21 Oct 2015 07:27:00 GMT", "Date": DATE}, 0.0),
    ({"Retry-After": "Fri, 31 Dec 9999 23:59:59 GMT", "Date": DATE}, 3600.0),
    ({"Retry-After": "Wed, 21 Oct 2015 07:28:42 GMT"}, None),
    ({"Retry-After": "Wed, 21 Oct 2015 07:28:42 -0000", "Date": DATE}, None),
    ({"Retry-After": "Wed, 21 Oct 2015 07:28:42 +" + "9" * 20, "Date": DATE}, None),
    ({"Retry-After": "Wed, 32 Oct 2015 07:28:42 GMT", "Date": DATE}, None),
]


class TestRetryAfter:
    @pytest.mark.parametrize("status", [408, 425, 429, 500, 503])
    async def test_retry_after_of_a_submit_is_passed_on(self, plain: Plain, status: int) -> None:
        plain.reply = Reply(status, OWN_WORDS, {"Retry-After": "17"})
        kind = "away" if status == 503 else "retryable"
        assert await failure(plain) == (kind, f"Somebody: the submit was answered {status}: not today", 17.0)

    @pytest.mark.parametrize(("headers", "seconds"), WAITS)
    async def test_retry_after_of_another_call_is_passed_on(
        self, plain: Plain, headers: dict[str, str], seconds: float | None
    ) -> None:
        plain.reply = Reply(503, OWN_WORDS, dict(headers))
        async with plain_client() as client:
            api = ProviderApi(client, "Somebody", words)
            with pytest.raises(CallFailed, match=r"\ASomebody answered 503: not today\Z") as caught:
                await api.call("GET", f"{plain.url}/jobs/1", {}, ok=frozenset({200}))
        error = caught.value
        assert (error.retry_after_s, error.forgotten, error.provider_away) == (seconds, False, seconds is not None)

    async def test_an_unknown_outcome_has_no_retry_after(self, plain: Plain) -> None:
        plain.reply = Reply(502, PAGE, {"Retry-After": "17"})
        expected = "Somebody: the submit was answered 502 without an error message"
        assert await failure(plain) == ("unknown", expected)
