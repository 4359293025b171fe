"""Which answers of providers count as a refusal of the key, and which don't."""

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec import json
from structlog.testing import capture_logs

from providers.custom.custom_cases import SECRET
from providers.custom.custom_cases import attempt as custom_attempt
from providers.google.google_cases import TALK, vertex_bench
from providers.image_files import FakeIO
from stepwell.basics.errors import AttemptError, CallFailed, StepwellError
from stepwell.contract.enums import ProviderType, TaskType
from stepwell.outbound.http_client import plain_client
from stepwell.ports.providers import Attempt, Job, RemoteProvider, Request
from stepwell.providers.custom.provider import CustomProvider
from stepwell.providers.factory import build_providers
from stepwell.providers.google.vertex import VertexProvider
from stepwell.providers.registry import Registry
from stepwell.providers.shared.credentials import Credentials, KeyRefusals
from stepwell.testing import ManualClock
from support.emulators.base import Call, Reply
from support.emulators.custom import CustomEmulator
from support.emulators.google import VertexEmulator
from support.service.installed_settings import read_settings

AT = datetime(2026, 11, 26, 5, 46, 4, tzinfo=UTC)
KEY = "canary-of-the-key"
ENVIRONMENT = {
    f"STEPWELL_CREDENTIALS__{name}": KEY for name in ("FAL", "FAL_TEAM_B", "REPLICATE", "OPENAI", "GEMINI", "COMFYUI")
} | {"STEPWELL_COMFYUI_URL": "http://comfyui.example"}
MODELS = {
    ProviderType.FAL: "fal-ai/flux",
    ProviderType.REPLICATE: "owner/name",
    ProviderType.OPENAI: "gpt",
    ProviderType.GEMINI: "gemini-3.8-flash",
    ProviderType.COMFYUI: "m",
}
GOOGLES_KEY = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "domain": "googleapis.com"}


class Ticking(ManualClock):
    """A clock that advances by a second at each reading."""

    def __init__(self) -> None:
        super().__init__(AT)
        self._seconds = -1

    def now(self) -> datetime:
        self._seconds += 1
        return AT + timedelta(seconds=self._seconds)


def response(status: int, body: Any) -> httpx.Response:
    return httpx.Response(status, stream=httpx.ByteStream(body if isinstance(body, bytes) else json.encode(body)))


def googles(code: int, status: str, message: str, reason: str | None = None) -> dict[str, Any]:
    details = {} if reason is None else {"details": [GOOGLES_KEY | {"reason": reason}]}
    return {"error": {"code": code, "status": status, "message": message} | details}


def openais(message: str, code: str | None = None, kind: str = "invalid_request_error") -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "code": code, "param": None}}


@pytest.mark.parametrize(
    ("kind", "status", "body", "refused"),
    [
        (ProviderType.FAL, 401, {"detail": "No user found for Key ID and Secret"}, True),
        (ProviderType.FAL, 401, {}, True),
        (ProviderType.FAL, 401, {"detail": "Authentication is required to access this application."}, True),
        (ProviderType.FAL, 401, {"detail": "Cannot access application 'a/b'. Access denied."}, False),
        (ProviderType.FAL, 403, {"detail": "User is locked. Reason: Exhausted balance."}, False),
        (ProviderType.FAL, 404, {"detail": "Application not found"}, False),
        (ProviderType.FAL, 422, {"detail": [{"loc": ["body"], "msg": "401", "type": "x"}]}, False),
        (ProviderType.FAL, 503, {"detail": "no capacity"}, False),
        (ProviderType.REPLICATE, 401, {"title": "Unauthenticated", "detail": "No valid token", "status": 401}, True),
        (ProviderType.REPLICATE, 402, {"title": "Insufficient credit", "detail": "x"}, False),
        (ProviderType.REPLICATE, 403, {"title": "Forbidden", "detail": "not this model"}, False),
        (ProviderType.OPENAI, 401, openais("Incorrect API key provided: sk-1.", "invalid_api_key"), True),
        (ProviderType.OPENAI, 401, {"error": "Unauthorized"}, True),
        (ProviderType.OPENAI, 401, openais("not allowed to access model", "401", "key_model_access_denied"), False),
        (ProviderType.OPENAI, 401, openais("litellm.AuthenticationError: x - Incorrect API key provided"), False),
        (ProviderType.OPENAI, 401, openais("Provider returned error"), False),
        (ProviderType.OPENAI, 403, openais("Country not supported", "unsupported_country"), False),
        (ProviderType.OPENAI, 400, openais("Your request was rejected by our safety system"), False),
        (ProviderType.GEMINI, 400, googles(400, "INVALID_ARGUMENT", "API key not valid.", "API_KEY_INVALID"), True),
        (ProviderType.GEMINI, 400, googles(400, "INVALID_ARGUMENT", "API_KEY_INVALID is no mime type"), False),
        (ProviderType.GEMINI, 401, googles(401, "UNAUTHENTICATED", "no"), True),
        (ProviderType.GEMINI, 403, googles(403, "PERMISSION_DENIED", "x", "API_KEY_IP_ADDRESS_BLOCKED"), True),
        (
            ProviderType.GEMINI,
            403,
            googles(403, "PERMISSION_DENIED", "Your API key was reported as leaked. Please use another API key."),
            True,
        ),
        (ProviderType.GEMINI, 403, googles(403, "PERMISSION_DENIED", "You may not use this tuned model."), False),
        (ProviderType.GEMINI, 429, googles(429, "RESOURCE_EXHAUSTED", "x", "RATE_LIMIT_EXCEEDED"), False),
        (ProviderType.COMFYUI, 401, b"<html>Unauthorized</html>", True),
        (ProviderType.COMFYUI, 403, b"<html>Forbidden</html>", False),
        (ProviderType.COMFYUI, 400, {"error": {"message": "401"}, "node_errors": {}}, False),
    ],
)
async def test_only_an_answer_about_the_key_counts_as_its_refusal(
    kind: ProviderType, status: int, body: Any, *, refused: bool
) -> None:
    refusals = KeyRefusals(Ticking())
    async with httpx.AsyncClient(transport=httpx.MockTransport(lambda _: response(status, body))) as client:
        provider = provider_of(kind, client, refusals)
        with pytest.raises(StepwellError) as failure:
            await provider.submit(an_attempt(kind), Request(model=MODELS[kind], body={}), FakeIO())
        assert refusals.since() == ({kind.lower(): AT} if refused else {})
        advice = f": the key was refused (set STEPWELL_CREDENTIALS__{kind}): the submit was answered {status}"
        assert (advice in str(failure.value)) is refused
        assert KEY not in str(failure.value)


def provider_of(kind: ProviderType, client: httpx.AsyncClient, refusals: KeyRefusals) -> RemoteProvider:
    return Registry(build_providers(read_settings(ENVIRONMENT), client, refusals)).remote(kind)


def an_attempt(kind: ProviderType, **config: Any) -> Attempt:
    task_type = TaskType.LLM_INTERACTION if kind in {ProviderType.OPENAI, ProviderType.GEMINI} else TaskType.GENERATION
    return custom_attempt(task_type=task_type, provider_config=config)


async def test_a_refusal_lasts_from_the_first_one_until_a_call_is_accepted() -> None:
    refusals, statuses = KeyRefusals(Ticking()), list[int]()

    def answer(request: httpx.Request) -> httpx.Response:
        status = statuses.pop(0)
        body = {"request_id": "r", "status": "IN_QUEUE"} if status == 200 else {"detail": "no"}
        assert request.headers["authorization"] == f"Key {KEY}"
        return response(status, body)

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        provider = provider_of(ProviderType.FAL, client, refusals)
        own, team = an_attempt(ProviderType.FAL), an_attempt(ProviderType.FAL, credential="FAL_Team_B")

        async def call(made: Callable[[], Any], status: int) -> None:
            statuses.append(status)
            with suppress(AttemptError, CallFailed):
                await made()

        job = Job(id="r")
        with capture_logs() as logs:
            await call(lambda: provider.submit(own, Request(model="a/b", body={}), FakeIO()), 401)
            await call(lambda: provider.poll(own, job), 401)
            await call(lambda: provider.poll(team, job), 401)
            assert refusals.since() == {"fal": AT, "fal_team_b": AT + timedelta(seconds=1)}, "since the first"
            await call(lambda: provider.poll(own, job), 500)
            await call(lambda: provider.poll(own, job), 404)
            assert "fal" in refusals.since(), "an error says nothing of the key"
            await call(lambda: provider.poll(own, job), 200)
            await call(lambda: provider.poll(own, job), 200)
        assert refusals.since() == {"fal_team_b": AT + timedelta(seconds=1)}
    assert [(line["log_level"], line["event"], line["credential"]) for line in logs] == [
        ("warning", "provider.key_refused", "fal"),
        ("warning", "provider.key_refused", "fal_team_b"),
        ("info", "provider.key_accepted", "fal"),
    ]
    assert (logs[1]["provider"], logs[1]["setting"]) == ("FAL", "STEPWELL_CREDENTIALS__FAL_TEAM_B")
    assert logs[2]["refused_since"] == AT.isoformat()
    assert KEY not in str(logs)


async def test_an_app_of_a_tenant_cannot_make_a_key_look_refused() -> None:
    """The status of a result at fal is set by its app."""
    refusals = KeyRefusals(Ticking())

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/status"):
            return response(200, {"status": "COMPLETED", "error": "failed"})
        return response(401, {"detail": "No user found for Key ID and Secret"})

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        provider = provider_of(ProviderType.FAL, client, refusals)
        attempt = custom_attempt(task_type=TaskType.EXPERIMENTAL_FAL, provider_config={"fal_app_id": "tenant/app"})
        for _ in range(2):
            with suppress(CallFailed, AttemptError):
                await provider.poll(attempt, Job(id="r"))
            with suppress(CallFailed, AttemptError):
                await provider.fetch(attempt, Job(id="r"), FakeIO())
    assert refusals.since() == {}


async def test_without_a_key_none_is_refused() -> None:
    refusals = KeyRefusals(Ticking())
    async with httpx.AsyncClient(transport=httpx.MockTransport(lambda _: response(401, b""))) as client:
        settings = read_settings({"STEPWELL_COMFYUI_URL": "http://comfyui.example"})
        provider = Registry(build_providers(settings, client, refusals)).remote(ProviderType.COMFYUI)
        with pytest.raises(AttemptError, match=r"^ComfyUI: the submit was answered 401"):
            await provider.submit(custom_attempt(), Request(model="m", body={}), FakeIO())
    assert refusals.since() == {}


@pytest.mark.parametrize(
    ("answer", "refused"),
    [
        (Reply(400, {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}), True),
        (Reply(401, {"error": "invalid_client"}), True),
        (Reply(400, {"error": "invalid_scope"}), False),
        (Reply(401, {"error": {"message": "no"}}), False),
        (Reply(403, b"<html>"), False),
        (Reply(503, b"<html>"), False),
    ],
)
async def test_a_service_account_is_refused_by_the_token_endpoint(
    tmp_path: Path, answer: Reply, *, refused: bool
) -> None:
    refusals = KeyRefusals(Ticking())
    async with vertex_bench(tmp_path) as bench:
        assert isinstance(bench.at, VertexEmulator)
        credentials = Credentials({"vertex": bench.secret}, refusals)
        provider = VertexProvider(bench.client, credentials, url=bench.at.url)
        request = await provider.prepare(TALK, bench.io)
        bench.at.token_answer = answer
        with pytest.raises(AttemptError) as failure:
            await provider.submit(TALK, request, bench.io)
        assert refusals.since() == ({"vertex": AT} if refused else {})
        advice = "VERTEX: the key was refused (set STEPWELL_CREDENTIALS__VERTEX): no access token: "
        assert str(failure.value).startswith(advice) is refused
        bench.at.token_answer = None
        await provider.submit(TALK, request, bench.io)
        assert refusals.since() == {}
        bench.at.issued.clear()  # a token that is refused is another matter: there is a new one the next time
        with pytest.raises(AttemptError):
            await provider.submit(TALK, request, bench.io)
        assert refusals.since() == {}


class RefusingWorker(CustomEmulator):
    """A worker that answers 401 to everything, with valid signatures."""

    async def answer(self, call: Call) -> Reply:  # noqa: ARG002 - the base's
        return self.error(401, "the key of this model's own server was refused")


async def test_a_worker_refuses_a_key_by_a_401_that_is_not_signed_with_it(tmp_path: Path) -> None:
    refusals = KeyRefusals(Ticking())

    async def submit(worker: CustomEmulator, client: httpx.AsyncClient, secret: str, **clock: Any) -> None:
        credentials = Credentials({"custom": secret}, refusals)
        provider, attempt = CustomProvider(client, credentials, url=worker.url, **clock), custom_attempt()
        with suppress(StepwellError):
            await provider.submit(attempt, await provider.prepare(attempt, FakeIO()), FakeIO())

    for name in ("worker", "refusing"):
        (tmp_path / name).mkdir()
    async with (
        CustomEmulator(tmp_path / "worker", secret=SECRET) as worker,
        RefusingWorker(tmp_path / "refusing", secret=SECRET) as refusing,
        plain_client() as client,
    ):
        await submit(worker, client, "another")
        assert refusals.since() == {"custom": AT}
        await submit(worker, client, SECRET)
        assert refusals.since() == {}
        await submit(refusing, client, SECRET)
        assert refusals.since() == {}, "it has our key, so it means another one"
        await submit(worker, client, SECRET, clock=lambda: 1.0)
        assert refusals.since() == {}, "a clock that is wrong is no wrong key"
