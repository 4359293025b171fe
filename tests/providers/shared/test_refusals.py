"""What a provider refuses whatever happens: reported before the step runs, in the words with which it would fail."""

from collections.abc import Iterator, Mapping
from typing import Any, Protocol, cast
from uuid import UUID

import httpx
import pytest

from stepwell.basics.errors import AttemptError, Fault
from stepwell.contract.enums import ProviderType as P
from stepwell.contract.enums import TaskType as T
from stepwell.lifecycle.steps import KnownStep
from stepwell.ports.providers import Attempt, AttemptIO, Blob, RefusesSteps, RemoteProvider
from stepwell.providers.factory import build_providers
from stepwell.providers.in_process import InProcess
from stepwell.providers.local.provider import LocalProvider
from stepwell.providers.registry import Registry
from support.emulators.google import picture, service_account
from support.providers.attempt_io import TASK, MemoryIO
from support.service.installed_settings import read_settings

BASE = "media/t/base.png"
PLACED = {"base_image_url": BASE, "prompt": "in red"}
GRAPH = {"6": {"class_type": "CLIPTextEncode", "inputs": {"text": ""}}, "9:2": {"class_type": "SaveImage"}}
GRAPHED = {"graph": GRAPH, "inputs": {"prompt": "6.text"}}
TALK = [{"role": "user", "content": "why?"}]
ENVIRONMENT = {
    "STEPWELL_CREDENTIALS__FAL": "a key",
    "STEPWELL_CREDENTIALS__REPLICATE": "a key",
    "STEPWELL_CREDENTIALS__OPENAI": "a key",
    "STEPWELL_CREDENTIALS__GEMINI": "a key",
    "STEPWELL_CREDENTIALS__VERTEX": service_account("http://stepwell.example"),
    "STEPWELL_COMFYUI_URL": "http://comfyui.example",
    "STEPWELL_CUSTOM_URL": "http://worker.example",
}
ELSEWHERE = {"STEPWELL_OPENAI_URL": "http://vllm.example/v1"}
NO_ADDRESS = "a server other than OpenAI's own gets no URLs; use image_urls, which Stepwell reads"
NO_NODE = "expected a node: an object with class_type and inputs"
A_PLACE = "expected node.input, like 6.text, a list of such places, or null"
CONTENT = "expected text, or a list of text and image_url items"


class CheckedProvider(RemoteProvider, RefusesSteps, Protocol):
    """A remote provider that refuses steps at create."""


def provider_of(kind: P, **more: str) -> CheckedProvider:
    """As the service has it; it may call nobody."""

    def nobody(request: httpx.Request) -> httpx.Response:
        raise AssertionError(f"{request.method} {request.url}")

    client = httpx.AsyncClient(transport=httpx.MockTransport(nobody))
    found = Registry(build_providers(read_settings(ENVIRONMENT | more), client)).remote(kind)
    assert isinstance(found, RefusesSteps)
    return cast(CheckedProvider, found)


async def prepared(
    provider: RemoteProvider, task_type: T, config: Mapping[str, Any], inputs: Mapping[str, Any]
) -> None:
    work = Attempt(
        task_id=TASK,
        workflow_id=UUID(int=1),
        tenant=None,
        step_id="step",
        task_type=task_type,
        number=1,
        inputs=inputs,
        provider_config=config,
        seed=7,
    )
    await provider.prepare(work, MemoryIO(inputs={BASE: Blob(picture(64, 64), "image/png")}))


CASES: list[tuple[P, T, dict[str, Any], dict[str, Any], tuple[str | int, ...], str]] = [
    (P.OPENAI, T.EDITING, {}, PLACED | {"crop": [0, 0, 1, 1]}, ("config", "crop"), "can't position or crop exactly"),
    (P.OPENAI, T.EDITING, {}, PLACED | {"rotate": 9}, ("config", "rotate"), "OPENAI can't position or crop exactly"),
    (P.OPENAI, T.GENERATION, {}, {"style_lora_weight": 0}, ("config", "style_lora_weight"), "OPENAI takes no LoRAs"),
    (P.OPENAI, T.GENERATION, {}, {"n": 2}, ("config", "n"), "OPENAI uses this name for one of its parameters"),
    (P.OPENAI, T.GENERATION, {"model": 5}, {}, ("provider_config", "model"), "expected a name of 1 to 200 characters"),
    (P.OPENAI, T.GENERATION, {"loras": {"a": "x"}}, {}, ("provider_config", "loras"), "OPENAI takes no LoRAs"),
    (P.OPENAI, T.GENERATION, {"parameters": "x"}, {}, ("provider_config", "parameters"), "expected an object"),
    (
        *(P.OPENAI, T.GENERATION, {"parameters": {"prompt": "x"}}, {}, ("provider_config", "parameters", "prompt")),
        "the step's inputs or the provider set it",
    ),
    (
        *(P.OPENAI, T.LLM_INTERACTION, {"parameters": {"n": 2}}, {}, ("provider_config", "parameters", "n")),
        "a step gets one result, in one answer",
    ),
    (P.REPLICATE, T.GENERATION, {"model": 7}, {}, ("provider_config", "model"), "expected a string"),
    (
        *(P.REPLICATE, T.GENERATION, {"model": "nonsense model!"}, {}, ("provider_config", "model")),
        "expected owner/name, owner/name:version or a version of 64 hex digits",
    ),
    (
        *(P.REPLICATE, T.GENERATION, {"model": "a/b", "deployment": "a/b"}, {}, ("provider_config", "deployment")),
        "a step names a model or a deployment, not both",
    ),
    (
        *(P.REPLICATE, T.GENERATION, {"cancel_after_s": "9"}, {}, ("provider_config", "cancel_after_s")),
        "expected a number of seconds",
    ),
    (
        *(P.REPLICATE, T.GENERATION, {"parameters": {"seed": 1}}, {}, ("provider_config", "parameters", "seed")),
        "expected the model's name for it, or null",
    ),
    (
        *(P.REPLICATE, T.GENERATION, {"loras": {"style": 1}}, {}, ("provider_config", "loras", "style")),
        "expected the address of the weights",
    ),
    (
        *(P.REPLICATE, T.GENERATION, {}, {"style_lora_weight": 0.5}, ("config", "style_lora_weight")),
        "provider_config.loras has no 'style'",
    ),
    (P.GEMINI, T.GENERATION, {"parameters": []}, {}, ("provider_config", "parameters"), "expected an object"),
    (
        *(P.GEMINI, T.GENERATION, {"model": "gpt-6"}, {}, ("provider_config", "model")),
        "expected the name of a Gemini, Imagen or Veo model",
    ),
    (
        *(P.GEMINI, T.EDITING, {"model": "imagen-4.0-generate-001"}, PLACED, ("provider_config", "model")),
        "imagen-4.0-generate-001 is of no family that does EDITING on GEMINI",
    ),
    (
        *(P.GEMINI, T.EDITING, {}, {"base_image_url": BASE, "crop": [0, 0, 9, 9]}, ("config", "prompt")),
        "expected one: the model edits by words, not by coordinates",
    ),
    (
        *(P.GEMINI, T.LLM_INTERACTION, {}, {"messages": [*TALK, {"role": "user", "content": 3}]}),
        *(("config", "messages", 1, "content"), CONTENT),
    ),
    (
        *(P.GEMINI, T.LLM_INTERACTION, {}, {"messages": [{"role": "tool", "content": "x"}]}),
        *(("config", "messages", 0, "role"), "expected user, assistant or system"),
    ),
    (
        *(P.VERTEX, T.GENERATION, {"model": "imagen-4.0-generate-001"}, {"reference_image_url": BASE}),
        *(("config", "reference_image_url"), "Imagen accepts no images; a Gemini image model does"),
    ),
    (
        *(P.VERTEX, T.VIDEO_GENERATION, {"parameters": {"storage_uri": "gs://x/"}}, {"base_image_url": BASE}),
        *(("provider_config", "parameters", "storageUri"), "the service's settings decide where videos are stored"),
    ),
    (P.CUSTOM, T.GENERATION, {"model": 3}, {}, ("provider_config", "model"), "must be a string"),
    (P.CUSTOM, T.REFINE, {}, {"seed": "x"}, ("config", "seed"), "must be an integer from 0 to 2^63 - 1"),
    (
        *(P.FAL, T.EXPERIMENTAL_FAL, {}, {}, ("provider_config", "fal_app_id")),
        "required, FAL has no app for EXPERIMENTAL_FAL",
    ),
    (
        *(P.FAL, T.GENERATION, {}, {"style_lora_weight": 0.5}, ("config", "style_lora_weight")),
        "provider_config.loras.style is missing; it names the LoRA, by path or URL",
    ),
    (
        *(P.FAL, T.LLM_INTERACTION, {}, {"messages": [*TALK, {"role": "user", "content": []}]}),
        *(("config", "messages", 1), "FAL takes messages whose role and content are text"),
    ),
    (
        *(P.COMFYUI, T.GENERATION, {}, {}, ("provider_config", "graph")),
        "COMFYUI needs one: a workflow in API format (in ComfyUI: Export (API))",
    ),
    (P.COMFYUI, T.GENERATION, {"graph": []}, {}, ("provider_config", "graph"), "expected an object of nodes"),
    (P.COMFYUI, T.GENERATION, {"graph": {"6": 1}}, {}, ("provider_config", "graph", "6"), NO_NODE),
    (
        *(P.COMFYUI, T.GENERATION, {"graph": {"x" * 101: {"class_type": "a"}}}, {}),
        *(("provider_config", "graph", "x" * 20 + "…"), "expected an id of 100 characters at most"),
    ),
    (P.COMFYUI, T.GENERATION, GRAPHED | {"inputs": []}, {}, ("provider_config", "inputs"), "expected an object"),
    (
        *(P.COMFYUI, T.GENERATION, GRAPHED | {"inputs": {"prompt": "6"}}, {}),
        *(("provider_config", "inputs", "prompt"), A_PLACE),
    ),
    (
        *(P.COMFYUI, T.GENERATION, GRAPHED | {"inputs": {"prompt": "6.text", "seed": ["8.seed", 5]}}, {}),
        *(("provider_config", "inputs", "seed"), "the graph has no node '8'"),
    ),
    (P.COMFYUI, T.GENERATION, GRAPHED | {"output": "10"}, {}, ("provider_config", "output"), "has no node '10'"),
    (P.COMFYUI, T.GENERATION, GRAPHED | {"output": 9}, {}, ("provider_config", "output"), "the graph has no node 9"),
    (
        *(P.COMFYUI, T.GENERATION, {"graph": GRAPH}, {}, ("provider_config", "inputs")),
        "nothing in the graph takes prompt: name its place, like 6.text, or null",
    ),
    (
        *(P.COMFYUI, T.GENERATION, {"graph": GRAPH | {"7": {"class_type": "a", "_meta": {"title": "seed"}}}}, {}),
        *(("provider_config", "graph", "7"), "inputs must name which of its inputs is seed"),
    ),
    (
        P.COMFYUI,
        T.EDITING,
        {"graph": GRAPH, "inputs": {"base_image_url": "6.text", "reference_image_urls": ["9:2.image"]}},
        PLACED | {"reference_image_urls": [BASE, BASE]},
        ("provider_config", "inputs", "reference_image_urls"),
        "there are more files (2) than places (1)",
    ),
]


@pytest.mark.parametrize(("kind", "task_type", "config", "inputs", "loc", "words"), CASES)
async def test_a_refusal_at_create_has_the_words_of_the_failure_at_run_time(
    kind: P, task_type: T, config: dict[str, Any], inputs: dict[str, Any], loc: tuple[str | int, ...], words: str
) -> None:
    provider = provider_of(kind)
    asked = ({"prompt": "x"} if task_type in {T.GENERATION, T.LLM_INTERACTION} else {}) | inputs
    faults = list(provider.refusals(KnownStep(task_type, config, asked)))
    assert loc in [fault.loc for fault in faults]
    [fault] = [fault for fault in faults if fault.loc == loc]
    assert fault.msg.endswith(words)
    with pytest.raises(AttemptError) as failure:
        await prepared(provider, task_type, config, asked)
    assert any(str(failure.value).endswith(f": {fault.msg}") for fault in faults)
    assert not failure.value.retryable


@pytest.mark.parametrize("task_type", [T.GENERATION, T.LLM_INTERACTION])
@pytest.mark.parametrize(
    ("config", "inputs", "loc"),
    [
        ({"parameters": {"extra": "http://10.0.0.1"}}, {}, ("provider_config", "parameters", "extra")),
        ({}, {"extra": "http://10.0.0.1"}, ("config", "extra")),
    ],
)
async def test_no_url_is_sent_to_a_server_of_the_operators(
    task_type: T, config: dict[str, Any], inputs: dict[str, Any], loc: tuple[str, ...]
) -> None:
    step, provider = KnownStep(task_type, config, {"prompt": "x"} | inputs), provider_of(P.OPENAI, **ELSEWHERE)
    assert [(fault.loc, fault.msg) for fault in provider.refusals(step)] == [(loc, NO_ADDRESS)]
    with pytest.raises(AttemptError, match=NO_ADDRESS):
        await prepared(provider, task_type, config, step.inputs)
    assert list(provider_of(P.OPENAI).refusals(step)) == []


@pytest.mark.parametrize("location", ["US", 3, "us-central1.evil", ["x"]])
def test_an_invalid_location_of_vertex_is_refused(location: Any) -> None:
    [fault] = provider_of(P.VERTEX).refusals(KnownStep(T.GENERATION, {"location": location}, {"prompt": "x"}))
    assert (fault.loc, fault.type) == (("provider_config", "location"), "provider_refuses")


def test_all_refusals_of_a_step_are_reported() -> None:
    openai = provider_of(P.OPENAI).refusals(
        KnownStep(T.EDITING, {"model": 5, "parameters": []}, PLACED | {"crop": [0, 0, 1, 1], "x": 3, "scale": 1})
    )
    assert [fault.loc for fault in openai] == [
        *(("provider_config", name) for name in ("model", "parameters")),
        *(("config", name) for name in ("x", "crop")),
    ]
    graph = {"6": {"inputs": {}}, "7": 1, "8": {"class_type": "a"}}
    comfyui = provider_of(P.COMFYUI).refusals(KnownStep(T.GENERATION, {"graph": graph}, {"prompt": "x"}))
    assert [fault.loc[-1] for fault in comfyui] == ["6", "7"]
    named = {"output": "10", "inputs": {"prompt": "6", "seed": "1.x", "width": None}}
    comfyui = provider_of(P.COMFYUI).refusals(KnownStep(T.GENERATION, GRAPHED | named, {"prompt": "x"}))
    assert [fault.loc[1:] for fault in comfyui] == [("output",), ("inputs", "prompt"), ("inputs", "seed")]


@pytest.mark.parametrize(
    ("kind", "task_type", "config", "inputs", "mapped"),
    [
        (P.OPENAI, T.EDITING, {"parameters": {"n": 1}}, {"base_image_url": BASE, "x": 0, "scale": 1}, {"crop"}),
        (P.OPENAI, T.GENERATION, {"modle": "x"}, {"prompt": "x"}, {"style_lora_weight"}),
        (P.REPLICATE, T.GENERATION, {"model": "a/b"}, {"prompt": "x"}, {"style_lora_weight"}),
        (P.REPLICATE, T.GENERATION, {"model": None, "deployment": "a/b"}, {"prompt": "x"}, set()),
        (P.GEMINI, T.EDITING, {}, {"base_image_url": BASE}, {"prompt"}),
        (P.GEMINI, T.EDITING, {}, {"base_image_url": BASE}, {"overlay_image_url"}),
        (P.GEMINI, T.LLM_INTERACTION, {"parameters": None}, {}, {"messages"}),
        (P.VERTEX, T.GENERATION, {"location": ""}, {"prompt": "x"}, set()),
        (P.FAL, T.GENERATION, {"loras": "x"}, {"prompt": "x"}, {"style_lora_weight"}),
        (P.FAL, T.EXPERIMENTAL_FAL, {"fal_app_id": "fal-ai/flux"}, {}, {"arguments"}),
        (P.CUSTOM, T.REFINE, {"anything": [1]}, {"base_image_url": BASE}, {"seed"}),
        (P.COMFYUI, T.LLM_INTERACTION, {"graph": GRAPH, "inputs": {"messages": "6.text"}}, {}, {"messages"}),
        (P.COMFYUI, T.GENERATION, {"graph": GRAPH, "inputs": {"prompt": None}}, {"prompt": "x"}, set()),
    ],
)
def test_what_only_the_run_can_decide_is_not_refused(
    kind: P, task_type: T, config: dict[str, Any], inputs: dict[str, Any], mapped: set[str]
) -> None:
    assert list(provider_of(kind).refusals(KnownStep(task_type, config, inputs, frozenset(mapped)))) == []


class Broken(InProcess):
    type = P.CUSTOM

    def capabilities(self, task_type: T) -> frozenset[str] | None:  # noqa: ARG002 - the port's
        return frozenset()

    async def run(self, attempt: Attempt, io: AttemptIO) -> dict[str, Any]:
        raise AssertionError(attempt, io)

    def refusals(self, step: KnownStep) -> Iterator[Fault]:
        yield Fault(("config", "x"), "x", "x")
        raise ValueError(step)


def test_a_provider_whose_own_code_fails_refuses_nothing() -> None:
    refusals = Registry([Broken(), LocalProvider()]).refusals()
    assert list(refusals[P.CUSTOM](KnownStep(T.GENERATION, {}, {}))) == []
