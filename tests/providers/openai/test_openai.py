"""OPENAI, what each answer to a submit, and each lack of one, comes to; and who gets the key."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from providers.attempts import attempt
from providers.openai.openai_cases import (
    CHAT,
    DRAWING,
    EDIT,
    NOW,
    PUBLIC,
    VIDEO,
    io_of,
    provider_at,
    run_to_end,
    submit,
)
from stepwell.basics.errors import AttemptError, CallFailed, OutcomeUnknown, StepwellError
from stepwell.contract.enums import WITHOUT_PROVIDER, ProviderType, TaskType
from stepwell.lifecycle.model import Sent
from stepwell.ports.providers import Attempt, Job, RemoteProvider
from stepwell.providers.openai.provider import OpenAiProvider
from stepwell.providers.shared.credentials import Credentials
from support.emulators.base import Fault
from support.emulators.openai import KEY, OpenAiEmulator

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
WORK = {"chat": CHAT, "drawing": DRAWING, "edit": EDIT, "film": VIDEO}
ASKED = {"chat": "why?", "drawing": "a shoe", "edit": "make it red", "film": "it turns"}
PATHS = {"chat": "chat/completions", "drawing": "images/generations", "edit": "images/edits", "film": "videos"}


def test_the_provider_implements_the_remote_port_and_needs_a_key_at_openai_only(
    provider: OpenAiProvider, client: httpx.AsyncClient
) -> None:
    port: RemoteProvider = provider
    assert (port.type, port.listing_lag_s) == (ProviderType.OPENAI, 0)
    assert not port.needs_credential
    for url in (PUBLIC, "https://eu.api.openai.com/v1/"):
        assert OpenAiProvider(client, Credentials({}), url=url).needs_credential
    assert not OpenAiProvider(client, Credentials({}), url="https://api.openai.com.example/v1").needs_credential


def test_other_servers_also_offer_videos(provider: OpenAiProvider, client: httpx.AsyncClient) -> None:
    here = {task_type for task_type in TaskType if provider.capabilities(task_type) is not None}
    assert set(TaskType) - here == {TaskType.IMAGE_ADJUSTER, TaskType.EXPERIMENTAL_FAL, *WITHOUT_PROVIDER}
    public = OpenAiProvider(client, Credentials({}))
    missing = {task_type for task_type in here if public.capabilities(task_type) is None}
    assert missing == {TaskType.VIDEO_GENERATION}


@pytest.mark.parametrize("kind", WORK)
class TestSubmit:
    async def test_a_submit_sends_the_key_and_is_accepted_once(
        self, provider: OpenAiProvider, emulator: OpenAiEmulator, kind: str
    ) -> None:
        await submit(provider, WORK[kind])
        (call,) = emulator.calls
        assert (call.kind, call.method, call.path) == ("submit", "POST", f"/v1/{PATHS[kind]}")
        assert call.headers["authorization"] == f"Bearer {KEY}"
        assert emulator.ledger.keys() == {ASKED[kind]: 1}

    @pytest.mark.parametrize(
        ("fault", "words", "retryable", "after_s"),
        [
            (Fault.BUSY, "429: rate_limit_error: too many requests", True, 0),
            (Fault.UNAVAILABLE, "503: server_error: no capacity", True, None),
            (Fault.BROKEN, "500: server_error: something broke", True, None),
            (Fault.REFUSED, "422: invalid_request_error: this can't be done", False, None),
        ],
    )
    async def test_a_refused_submit_raises_an_attempt_error(
        self,
        provider: OpenAiProvider,
        emulator: OpenAiEmulator,
        kind: str,
        fault: Fault,
        words: str,
        retryable: bool,  # noqa: FBT001 - a column
        after_s: float | None,
    ) -> None:
        emulator.plan("submit", fault)
        with pytest.raises(AttemptError, match=words) as refusal:
            await submit(provider, WORK[kind])
        assert (refusal.value.retryable, refusal.value.retry_after_s) == (retryable, after_s)
        assert emulator.ledger.jobs() == []

    async def test_a_refused_connection_is_retryable(
        self, client: httpx.AsyncClient, tmp_path: Path, kind: str
    ) -> None:
        async with OpenAiEmulator(tmp_path) as stopped:
            provider = provider_at(stopped, client)
        with pytest.raises(AttemptError, match="connection refused") as failure:
            await submit(provider, WORK[kind])
        assert failure.value.retryable


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        *((kind, fault) for kind in ("chat", "film") for fault in LOST),
        *((kind, fault) for kind in ("drawing", "edit") for fault in (Fault.LOSE_AFTER, Fault.HUGE_AFTER)),
    ],
)
async def test_a_submit_without_a_readable_answer_raises_outcome_unknown(
    emulator: OpenAiEmulator, client: httpx.AsyncClient, kind: str, fault: Fault
) -> None:
    emulator.plan("submit", fault)
    with pytest.raises(OutcomeUnknown) as unknown:
        await submit(provider_at(emulator, client, work_s=10.0, max_answer=1_000_000), WORK[kind])
    assert KEY not in str(unknown.value)
    assert emulator.count("submit") == 1
    assert len(emulator.ledger.jobs()) == (not fault.name.endswith("BEFORE"))


class TestRefusals:
    @pytest.mark.parametrize(
        ("kind", "code", "retryable"),
        [
            ("insufficient_quota", None, False),
            ("insufficient_quota", "credit_balance_exhausted", False),
            ("requests", "project_spend_limit_exceeded", False),
            ("tokens", "rate_limit_exceeded", True),
        ],
    )
    async def test_an_error_about_credit_is_not_retryable(
        self,
        provider: OpenAiProvider,
        emulator: OpenAiEmulator,
        kind: str,
        code: str | None,
        retryable: bool,  # noqa: FBT001 - a column
    ) -> None:
        refusing(emulator, {"error": {"message": "You exceeded it", "type": kind, "code": code, "param": None}})
        emulator.plan("submit", Fault.BUSY)
        with pytest.raises(AttemptError, match=f"{code or kind}: You exceeded it") as refusal:
            await submit(provider, CHAT)
        assert (refusal.value.retryable, refusal.value.provider_fault) == (retryable, True)

    @pytest.mark.parametrize(
        ("body", "words"),
        [
            (
                {"error": {"message": "no", "type": "user_error", "code": "moderation_blocked"}},
                "moderation_blocked: no",
            ),
            ({"error": {"message": "no such model", "code": 404}}, ": no such model"),
            ({"detail": "Invalid size format"}, "Invalid size format"),
            ({"detail": [{"msg": "Field required"}]}, "Field required"),
            ({"error": "text"}, "without an error message"),
            ([], "without an error message"),
        ],
    )
    async def test_each_form_of_an_error_is_reported(
        self, provider: OpenAiProvider, emulator: OpenAiEmulator, body: Any, words: str
    ) -> None:
        refusing(emulator, body)
        emulator.plan("submit", Fault.REFUSED)
        with pytest.raises(AttemptError, match=words) as refusal:
            await submit(provider, DRAWING)
        assert not refusal.value.retryable
        assert refusal.value.provider_fault

    async def test_a_500_in_another_form_raises_outcome_unknown(
        self, provider: OpenAiProvider, emulator: OpenAiEmulator
    ) -> None:
        refusing(emulator, {"error": "Internal Server Error"})
        emulator.plan("submit", Fault.BROKEN)
        with pytest.raises(OutcomeUnknown):
            await submit(provider, DRAWING)


class TestCredentials:
    async def test_a_step_can_name_its_credential(self, provider: OpenAiProvider, emulator: OpenAiEmulator) -> None:
        with pytest.raises(AttemptError, match="401: invalid_api_key: Incorrect API key provided: …") as refusal:
            await submit(provider, attempt(config={"credential": "OPENAI_B"}, prompt="x"))
        assert not refusal.value.retryable
        assert "sk-wr" not in str(refusal.value)
        assert emulator.calls[0].headers["authorization"] == "Bearer sk-other"

    async def test_openai_needs_a_credential(self, client: httpx.AsyncClient) -> None:
        provider = OpenAiProvider(client, Credentials({}))
        with pytest.raises(AttemptError, match="holds no credential of this name") as refusal:
            await submit(provider, CHAT)
        assert not refusal.value.retryable
        with pytest.raises(CallFailed, match="holds no credential of this name"):
            await provider.poll(VIDEO, Job(id="x"))

    async def test_other_servers_may_need_no_credential(
        self, emulator: OpenAiEmulator, client: httpx.AsyncClient
    ) -> None:
        emulator.key = None
        provider = OpenAiProvider(client, Credentials({}), url=f"{emulator.url}/openai/v1/")
        assert (await run_to_end(provider, CHAT))["result_text"] == "You said: why?"
        (call,) = emulator.calls
        assert call.path == "/openai/v1/chat/completions"
        assert "authorization" not in call.headers

    @pytest.mark.parametrize("secret", ["sk-é", "sk-\n"])
    async def test_a_credential_that_no_header_can_hold_is_not_sent(
        self, emulator: OpenAiEmulator, client: httpx.AsyncClient, secret: str
    ) -> None:
        provider = OpenAiProvider(client, Credentials({"openai": secret}), url=emulator.base)
        with pytest.raises(AttemptError, match="can't be sent in a header") as refusal:
            await submit(provider, CHAT)
        assert secret not in str(refusal.value)
        assert emulator.calls == []

    async def test_no_message_contains_the_key(self, emulator: OpenAiEmulator, client: httpx.AsyncClient) -> None:
        refusing(emulator, {"error": {"message": f"no, Bearer {KEY}", "type": "x"}})
        provider, job = provider_at(emulator, client), Job(id="x")
        sent = Sent("sora-2", "digest", NOW)
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "submit": lambda: submit(provider, EDIT),
            "poll": lambda: provider.poll(VIDEO, job),
            "list": lambda: provider.reconcile(VIDEO, sent),
        }
        for kind, call in calls.items():
            emulator.plan(kind, Fault.BROKEN)
            with pytest.raises(StepwellError, match=r"500: x: no, Bearer …") as failure:
                await call()
            assert KEY not in f"{failure.value!r} {failure.value} {provider!r}"


@pytest.mark.parametrize("work", [CHAT, DRAWING, EDIT], ids=["chat", "drawing", "edit"])
async def test_calls_that_are_answered_at_once_cannot_be_found(
    provider: OpenAiProvider, emulator: OpenAiEmulator, work: Attempt
) -> None:
    assert await provider.reconcile(work, Sent("x", "digest", NOW)) is None
    assert provider.called_back(b'{"id": "x"}') is None
    assert emulator.calls == []


async def test_the_same_work_gives_the_same_request(provider: OpenAiProvider, emulator: OpenAiEmulator) -> None:
    requests = [await provider.prepare(EDIT, io_of()) for _ in range(2)]
    assert requests[0] == requests[1]
    for request in requests:
        await provider.submit(EDIT, request, io_of())
    first, second = emulator.calls
    assert (first.body, first.headers) == (second.body, second.headers)


def refusing(emulator: OpenAiEmulator, body: Any) -> None:
    """Its errors are worded so."""
    usual = emulator.error

    def error(status: int, message: str, **more: Any) -> Any:
        reply = usual(status, message, **more)
        reply.body = body
        return reply

    emulator.error = error  # type: ignore[method-assign]
