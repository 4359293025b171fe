"""The members that providers declare, as warnings of create and plan use them."""

from typing import Any

import pytest

from providers.shared.test_refusals import ELSEWHERE, provider_of
from stepwell.contract.enums import ProviderType as P
from stepwell.contract.enums import TaskType as T
from stepwell.contract.task_configs import CONFIGS
from stepwell.ports.providers import DeclaresMembers
from stepwell.providers.local.provider import LocalProvider
from stepwell.providers.registry import Registry

REMOTE = (P.FAL, P.REPLICATE, P.OPENAI, P.GEMINI, P.VERTEX, P.COMFYUI)


def declared(kind: P, **more: str) -> DeclaresMembers:
    provider = LocalProvider() if kind is P.LOCAL else provider_of(kind, **more)
    assert isinstance(provider, DeclaresMembers)
    return provider


def ignored(kind: P, task_type: T, provider_config: dict[str, Any] | None = None, **more: str) -> set[str]:
    """The inputs that Stepwell knows for the type, and that the provider ignores."""
    members = declared(kind, **more).members(task_type, provider_config or {})
    return {name for name in CONFIGS[task_type].__struct_fields__ if members.ignores_input(name)} - {"timeout_s"}


@pytest.mark.parametrize(
    ("kind", "task_type", "names"),
    [
        (P.LOCAL, T.GENERATION, set()),
        (P.LOCAL, T.VIDEO_GENERATION, {"prompt"}),
        (P.FAL, T.GENERATION, {"negative_prompt"}),
        (P.REPLICATE, T.GENERATION, set()),
        (P.OPENAI, T.GENERATION, {"seed", "num_images", "reference_image_strength"}),
        (P.OPENAI, T.VIDEO_GENERATION, set()),
        (P.GEMINI, T.EDITING, {"x", "y", "scale", "opacity", "crop", "rotate"}),
        (P.VERTEX, T.VIDEO_GENERATION, {"fps"}),
        (P.GEMINI, T.LLM_INTERACTION, set()),
    ],
)
def test_known_inputs_that_a_provider_ignores(kind: P, task_type: T, names: set[str]) -> None:
    assert ignored(kind, task_type) == names


def test_an_app_or_a_server_of_ones_own_may_use_more() -> None:
    assert ignored(P.FAL, T.GENERATION, {"fal_app_id": "me/app"}) == set()
    assert "seed" not in ignored(P.OPENAI, T.GENERATION, {}, **ELSEWHERE)


def test_comfyui_ignores_the_inputs_that_have_no_place_in_the_graph() -> None:
    titled = {"class_type": "Int", "inputs": {"value": 1}, "_meta": {"title": "width"}}
    graph = {
        "6": {"class_type": "Text", "inputs": {"text": ""}},
        "7": titled,
        "8": titled | {"_meta": {"title": "seed"}},
    }
    config = {"graph": graph, "inputs": {"prompt": "6.text", "seed": None}}
    used = set(CONFIGS[T.GENERATION].__struct_fields__) - {"timeout_s"} - ignored(P.COMFYUI, T.GENERATION, config)
    assert used == {"prompt", "width"}
    assert ignored(P.COMFYUI, T.GENERATION, {"graph": "broken"}) == set()


@pytest.mark.parametrize("kind", [P.LOCAL, *REMOTE])
def test_every_provider_reads_its_own_type(kind: P) -> None:
    config = declared(kind).members(T.GENERATION, {}).config
    assert config is not None
    assert "provider_type" in config


def test_custom_workers_may_use_and_give_anything() -> None:
    assert not isinstance(provider_of(P.CUSTOM), DeclaresMembers)


def test_a_provider_whose_declaration_fails_may_use_anything() -> None:
    class Broken(LocalProvider):
        def members(self, *_: Any) -> Any:
            raise RuntimeError("a bug")

    members = Registry([Broken()]).members()[P.LOCAL](T.GENERATION, {})
    assert (members.inputs, members.config, members.outputs) == (None, None, None)
