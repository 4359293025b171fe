"""COMFYUI, call by call, against an emulator of its server: what each answer, and each lack of one, comes to."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from providers.comfyui.comfyui_cases import SENT, TOKEN, attempt, files, poll_until_ended, provider_at, submit
from stepwell.basics.errors import AttemptError, CallFailed, OutcomeUnknown
from stepwell.contract.enums import WITHOUT_PROVIDER, ProviderType, TaskType
from stepwell.ports.providers import Job, JobStatus, RemoteProvider
from stepwell.providers.comfyui.provider import ComfyUiProvider
from support.emulators.base import Call, Fault, Reply
from support.emulators.comfyui import ComfyUiEmulator, graph_for
from support.emulators.comfyui_graphs import CHECKPOINT
from support.providers.attempt_io import TASK

ID = str(TASK)
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


def calls(emulator: ComfyUiEmulator, kind: str) -> list[Call]:
    return [call for call in emulator.calls if call.kind == kind]


def test_the_provider_implements_the_remote_port(provider: ComfyUiProvider) -> None:
    port: RemoteProvider = provider
    assert (port.type, port.needs_credential) == (ProviderType.COMFYUI, False)
    assert (port.listing_lag_s, port.called_back(b"{}")) == (0.0, None)
    undone = {kind for kind in TaskType if port.capabilities(kind) is None}
    assert undone == WITHOUT_PROVIDER | {TaskType.EXPERIMENTAL_FAL}
    assert port.capabilities(TaskType.GENERATION) == frozenset({"graph"})


@pytest.mark.parametrize(
    ("config", "model"),
    [
        (graph_for("GENERATION"), CHECKPOINT),
        (graph_for("GENERATION") | {"model": "mine"}, "mine"),
        ({"graph": {"10": {"inputs": {"ckpt_name": "b"}}, "9": {"inputs": {"unet_name": "a"}}}}, "a"),
        (graph_for("REFINE"), "graph"),
        ({"graph": {"1": 5, "2": {"inputs": []}}, "model": 5}, "graph"),
        ({"graph": []}, "graph"),
        ({}, "graph"),
    ],
)
def test_limits_apply_to_the_model_or_the_checkpoint(
    provider: ComfyUiProvider, config: dict[str, Any], model: str
) -> None:
    assert provider.model(TaskType.GENERATION, config) == model


class TestSubmit:
    async def test_a_submit_sends_the_graph_with_the_id_of_the_task(
        self, provider: ComfyUiProvider, emulator: ComfyUiEmulator
    ) -> None:
        request = await provider.prepare(attempt(), files())
        assert request == await provider.prepare(attempt(), files())
        assert request.model == CHECKPOINT
        assert await provider.submit(attempt(), request, files()) == Job(id=ID)
        (call,) = emulator.calls
        client_id = call.json()["client_id"]
        assert (call.path, call.json()) == ("/prompt", {**request.body, "client_id": client_id})
        assert request.body.keys() == {"prompt", "prompt_id", "extra_data"}
        extra = {"stepwell": {"task_id": ID}, "preview_method": "none"}
        assert (request.body["prompt_id"], request.body["extra_data"]) == (ID, extra)
        assert "authorization" not in call.headers
        assert emulator.ledger.keys() == {"a shoe (7)": 1}

    async def test_each_process_has_its_own_client_id(
        self, emulator: ComfyUiEmulator, client: httpx.AsyncClient
    ) -> None:
        for number in range(2):
            await submit(provider_at(emulator, client), attempt(number=number))
        assert len({call.json()["client_id"] for call in calls(emulator, "submit")}) == 2

    async def test_the_credential_is_sent_as_a_bearer_token(self, tmp_path: Path, client: httpx.AsyncClient) -> None:
        (tmp_path / "behind").mkdir()
        async with ComfyUiEmulator(tmp_path / "behind", token=TOKEN) as emulator:
            provider, named = provider_at(emulator, client), attempt(config={"credential": "ComfyUI_B"})
            job = await submit(provider)
            assert (await poll_until_ended(provider, job)).status is JobStatus.SUCCEEDED
            await provider.fetch(attempt(), job, files())
            assert {call.headers["authorization"] for call in emulator.calls} == {f"Bearer {TOKEN}"}
            with pytest.raises(AttemptError, match="401"):
                await submit(provider, named)
            assert calls(emulator, "submit")[-1].headers["authorization"] == "Bearer another token"
            with pytest.raises(CallFailed, match="401"):
                await provider.poll(named, job)

    async def test_an_unknown_credential_fails_submits_and_calls_about_jobs(self, provider: ComfyUiProvider) -> None:
        work = attempt(config={"credential": "comfyui_gone"})
        with pytest.raises(AttemptError, match="holds no credential") as failure:
            await provider.prepare(work, files())
        assert not failure.value.retryable
        with pytest.raises(CallFailed, match="holds no credential"):
            await provider.poll(work, Job(id=ID))

    @pytest.mark.parametrize("fault", LOST)
    async def test_a_prompt_whose_answer_was_lost_is_found_exactly(
        self, provider: ComfyUiProvider, emulator: ComfyUiEmulator, fault: Fault
    ) -> None:
        emulator.plan("submit", fault)
        with pytest.raises(OutcomeUnknown):
            await submit(provider)
        taken = not fault.name.endswith("BEFORE")
        assert (emulator.count("submit"), len(emulator.ledger.jobs())) == (1, taken)
        assert await provider.reconcile(attempt(), SENT) == ([Job(id=ID)] if taken else [])

    @pytest.mark.parametrize(
        ("fault", "words", "retryable", "after_s"),
        [
            (Fault.BUSY, "429: too many requests", True, 0),
            (Fault.UNAVAILABLE, "503: no capacity", True, None),
            (Fault.BROKEN, "500: something broke", True, None),
            (Fault.REFUSED, "422: this can't be done", False, None),
        ],
    )
    async def test_a_submit_that_was_certainly_not_accepted_raises_an_attempt_error(
        self,
        provider: ComfyUiProvider,
        emulator: ComfyUiEmulator,
        fault: Fault,
        words: str,
        retryable: bool,  # noqa: FBT001 - a column
        after_s: float | None,
    ) -> None:
        emulator.plan("submit", fault)
        with pytest.raises(AttemptError, match=words) as failure:
            await submit(provider)
        assert (failure.value.retryable, failure.value.retry_after_s) == (retryable, after_s)
        assert emulator.ledger.jobs() == []

    async def test_a_refused_connection_is_retryable(
        self, emulator: ComfyUiEmulator, client: httpx.AsyncClient
    ) -> None:
        with pytest.raises(AttemptError, match="connection refused") as failure:
            await submit(provider_at(emulator, client, url="http://127.0.0.1:1"))
        assert failure.value.retryable

    async def test_an_error_of_the_web_framework_raises_outcome_unknown(
        self, provider: ComfyUiProvider, emulator: ComfyUiEmulator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        words = b"500 Internal Server Error\n\nServer got itself in trouble"
        monkeypatch.setattr(emulator, "error", lambda *_: Reply(500, words, {"Content-Type": "text/plain"}))
        emulator.plan("submit", Fault.BROKEN)
        with pytest.raises(OutcomeUnknown, match="500 without an error message"):
            await submit(provider)

    @pytest.mark.parametrize("answer", [{}, {"prompt_id": 5}, {"prompt_id": "../5"}, []])
    async def test_an_answer_without_an_id_raises_outcome_unknown(
        self, provider: ComfyUiProvider, emulator: ComfyUiEmulator, monkeypatch: pytest.MonkeyPatch, answer: Any
    ) -> None:
        monkeypatch.setattr(emulator, "posted", lambda _: Reply(200, answer))
        with pytest.raises(OutcomeUnknown, match="200"):
            await submit(provider)

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"8": {"class_type": "NoSuchNode", "inputs": {}, "_meta": {"title": "Mine"}}}, "Node 'Mine' not found"),
            (
                {"3": {"class_type": "KSampler", "inputs": {"seed": 1}}},
                r"node 3 \(KSampler\): Required input is missing",
            ),
            (
                {"3": {"class_type": "LoadImage", "inputs": {"image": "no.png"}}},
                r"node 3 \(LoadImage\): Custom validation failed for node: image - Invalid image file: no.png",
            ),
            ({"9": {"class_type": "VAEDecode", "inputs": {}}}, "Prompt has no outputs"),
        ],
    )
    async def test_a_graph_that_the_server_refuses_fails_the_attempt(
        self, provider: ComfyUiProvider, emulator: ComfyUiEmulator, changes: dict[str, Any], words: str
    ) -> None:
        graph = graph_for("GENERATION")["graph"] | changes
        with pytest.raises(AttemptError, match=f"the submit was answered 400: .*{words}") as failure:
            await submit(provider, attempt(config={"graph": graph}))
        assert (failure.value.retryable, failure.value.provider_fault) == (False, True)
        assert emulator.ledger.jobs() == []

    @pytest.mark.parametrize("faults", [[], [Fault.BROKEN]])
    async def test_a_graph_that_would_lack_the_output_is_cancelled(
        self, provider: ComfyUiProvider, emulator: ComfyUiEmulator, faults: list[Fault]
    ) -> None:
        lost = {"28": {"class_type": "LoadImage", "inputs": {"image": "gone.png"}}}
        lost["29"] = {"class_type": "SaveImage", "inputs": {"images": ["28", 0], "filename_prefix": "final"}}
        config = {"graph": graph_for("GENERATION")["graph"] | lost}
        emulator.plan("cancel", *faults)
        said = r"only a part of the graph: node 28 \(LoadImage\): Custom validation failed for node: image .*gone.png"
        with pytest.raises(AttemptError, match=said) as failure:
            await submit(provider, attempt(config=config))
        assert not failure.value.retryable
        assert emulator.count("cancel") == 1
        with pytest.raises(AttemptError, match="only a part"):
            await submit(provider, attempt(config=config | {"output": "29"}))
        one_is_enough = attempt(config=config | {"output": "9"}, number=1)
        job = await submit(provider, one_is_enough)
        assert (await poll_until_ended(provider, job, one_is_enough)).status is JobStatus.SUCCEEDED

    async def test_each_form_of_an_error_is_reported(
        self, provider: ComfyUiProvider, emulator: ComfyUiEmulator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for body, words in (
            ({"error": "no prompt", "node_errors": []}, "400: no prompt"),
            ({"error": {"message": "A", "details": "B"}, "node_errors": {"1": 5, "2": {"errors": [5]}}}, "400: A: B"),
            ({"error": ""}, "400 without an error message"),
            ([], "400 without an error message"),
        ):
            monkeypatch.setattr(emulator, "posted", lambda _, body=body: Reply(400, body))
            with pytest.raises(AttemptError, match=words):
                await submit(provider)

    async def test_no_error_shows_the_key(
        self, tmp_path: Path, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "behind").mkdir()
        async with ComfyUiEmulator(tmp_path / "behind", token=TOKEN) as emulator:
            provider = provider_at(emulator, client)
            emulator.failure = ("RuntimeError", f"it was {TOKEN}")
            job = await submit(provider)
            assert (await provider.poll(attempt(), job)).error.endswith(": it was …")
            monkeypatch.setattr(emulator, "posted", lambda _: emulator.error(400, f"you sent {TOKEN}"))
            with pytest.raises(AttemptError, match="you sent …"):
                await submit(provider)
