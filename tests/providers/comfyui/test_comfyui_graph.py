"""COMFYUI: what becomes of a step's graph and inputs before they are sent, and of its files."""

from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec import structs

from providers.comfyui.comfyui_cases import HAT, SHOE, TOKEN, attempt, files, provider_at
from stepwell.basics.errors import AttemptError
from stepwell.contract.enums import TaskType
from stepwell.ports.providers import Blob
from stepwell.providers.comfyui.node_graph import find_seed, node_order
from stepwell.providers.comfyui.provider import ComfyUiProvider
from stepwell.providers.shared.credentials import Credentials
from support.emulators.base import Fault, Reply
from support.emulators.comfyui import ComfyUiEmulator, graph_for
from support.providers.attempt_io import MemoryIO


@pytest.fixture
def alone(client: httpx.AsyncClient) -> ComfyUiProvider:
    """One that has no server to upload anything to."""
    return ComfyUiProvider(client, Credentials({}), url="http://127.0.0.1:1")


def node(title: str | None = None, **inputs: Any) -> dict[str, Any]:
    return {"class_type": "Any", "inputs": inputs, **({"_meta": {"title": title}} if title else {})}


async def fill(
    provider: ComfyUiProvider,
    graph: dict[str, Any],
    places: Any = None,
    task_type: TaskType = TaskType.GENERATION,
    io: MemoryIO | None = None,
    **inputs: Any,
) -> dict[str, Any]:
    """The inputs of each node, as they are sent."""
    config = {"graph": graph, "inputs": places}
    request = await provider.prepare(attempt(task_type, config, **inputs), io or files())
    return {node_id: node["inputs"] for node_id, node in request.body["prompt"].items()}


class TestPlaces:
    async def test_inputs_are_inserted_at_the_places_that_the_step_names(self, alone: ComfyUiProvider) -> None:
        graph = {"6": node(text="", clip=["4", 1]), "12:3": node(), "7": node(text="kept")}
        places = {
            "prompt": ["6.text", "12:3.inputs.words"],
            "seed": "6.noise.seed",
            "width": "12:3.width",
            "negative_prompt": None,
            "height": "6.clip",
        }
        result = await fill(alone, graph, places, prompt="a shoe", width=3, height=5, negative_prompt="x", seed=9)
        assert result == {
            "6": {"text": "a shoe", "clip": 5, "noise.seed": 9},
            "12:3": {"words": "a shoe", "width": 3},
            "7": {"text": "kept"},
        }
        assert graph["6"]["inputs"] == {"text": "", "clip": ["4", 1]}

    async def test_inputs_are_inserted_at_the_nodes_with_their_titles(self, alone: ComfyUiProvider) -> None:
        graph = {
            "1": node("prompt", text="", clip=["4", 1]),
            "2": node("seed", noise_seed=0, steps=3),
            "3": node("width", value=1, width=2),
            "4": node("height", value=1),
            "5": node("prompt", string="", value=""),
            "6": node("Prompt", text="kept"),
        }
        result = await fill(alone, graph, None, prompt="a shoe", width=30, height=40)
        assert result == {
            "1": {"text": "a shoe", "clip": ["4", 1]},
            "2": {"noise_seed": 7, "steps": 3},
            "3": {"value": 1, "width": 30},
            "4": {"value": 40},
            "5": {"string": "", "value": "a shoe"},
            "6": {"text": "kept"},
        }
        places = {"prompt": "6.text", "seed": None}
        result = await fill(alone, graph, places, prompt="a shoe", width=30, height=40)
        assert (result["1"]["text"], result["2"]["noise_seed"], result["6"]["text"]) == ("", 0, "a shoe")

    async def test_lists_and_objects_are_inserted_as_json_text(self, alone: ComfyUiProvider) -> None:
        graph = {"1": node(a=0, b=0, c=0, d=0, e=0)}
        places = {"prompt": "1.a", "crop": "1.b", "about": "1.c", "strict": "1.d", "share": "1.e", "timeout_s": "1.f"}
        inputs: dict[str, Any] = {
            "prompt": "x",
            "crop": [1, 2],
            "about": {"b": 1, "a": "ü"},
            "strict": True,
            "share": 0.5,
        }
        result = await fill(alone, graph, places, **inputs, timeout_s=5, absent=None)
        assert result == {"1": {"a": "x", "b": "[1,2]", "c": '{"a":"ü","b":1}', "d": True, "e": 0.5}}

    @pytest.mark.parametrize(
        ("config", "words"),
        [
            ({"graph": None}, "graph: COMFYUI needs one: a workflow in API format"),
            ({"graph": []}, "graph: expected an object of nodes"),
            ({"graph": {}}, "graph: expected an object of nodes"),
            ({"graph": {"nodes": [], "links": []}}, "graph: this is the format of the editor"),
            ({"graph": {"6": 5}}, "graph.6: expected a node"),
            ({"graph": {"6": {"inputs": {}}}}, "graph.6: expected a node"),
            ({"graph": {"6": {"class_type": "A", "inputs": []}}}, "graph.6: expected a node"),
            ({"inputs": []}, "inputs: expected an object"),
            ({"inputs": {"prompt": "99.text"}}, "inputs.prompt: the graph has no node '99'"),
            ({"inputs": {"absent": ["6.text", "99.text"]}}, "inputs.absent: the graph has no node '99'"),
            ({"inputs": {"prompt": "6"}}, "inputs.prompt: expected node.input, like 6.text"),
            ({"inputs": {"prompt": [6]}}, "inputs.prompt: expected node.input, like 6.text"),
            ({"inputs": {"prompt": {"6": "text"}}}, "inputs.prompt: expected node.input, like 6.text"),
            ({"inputs": {}}, "inputs: nothing in the graph takes prompt: name its place, like 6.text, or null"),
            ({"graph": {"6": node("prompt", odd="")}}, "graph.6: inputs must name which of its inputs is prompt"),
            ({"output": "99"}, "output: the graph has no node '99'"),
            ({"output": 9}, "output: the graph has no node 9"),
        ],
    )
    async def test_a_wrong_graph_or_place_is_refused(
        self, alone: ComfyUiProvider, config: dict[str, Any], words: str
    ) -> None:
        changed = config | ({"inputs": None} if "graph" in config else {})
        with pytest.raises(AttemptError) as failure:
            await alone.prepare(attempt(config=changed), files())
        assert str(failure.value).startswith(f"provider_config.{words}")
        assert (failure.value.retryable, failure.value.provider_fault) == (False, True)

    async def test_an_input_without_a_place_is_omitted(self, alone: ComfyUiProvider) -> None:
        result = await fill(alone, {"1": node()}, {"prompt": None}, prompt="a shoe", width=3)
        assert result == {"1": {}}
        messages = [{"role": "user", "content": "hi"}]
        places = {"messages": "1.messages"}
        result = await fill(alone, {"1": node()}, places, TaskType.LLM_INTERACTION, messages=messages)
        assert result == {"1": {"messages": '[{"content":"hi","role":"user"}]'}}

    @pytest.mark.parametrize("task_type", [TaskType.PASSTHROUGH, TaskType.EXPERIMENTAL_FAL])
    async def test_task_types_that_comfyui_cannot_do_are_refused(
        self, alone: ComfyUiProvider, task_type: TaskType
    ) -> None:
        work = structs.replace(attempt(), task_type=task_type)
        with pytest.raises(AttemptError, match=f"COMFYUI can't do {task_type}"):
            await alone.prepare(work, files())


def test_node_ids_are_ordered_by_number_and_then_by_text() -> None:
    assert sorted(["b", "10", "9:10", "a", "9:9", "9", ""], key=node_order) == ["9", "9:9", "9:10", "10", "", "a", "b"]


@pytest.mark.parametrize(
    ("config", "graph", "seed"),
    [
        (graph_for("GENERATION"), {"3": {"inputs": {"seed": 5}}}, 5),
        (graph_for("GENERATION"), {"3": {"inputs": {"seed": True}}}, None),
        (graph_for("GENERATION"), {"3": {}}, None),
        (graph_for("GENERATION"), {}, None),
        (graph_for("GENERATION"), None, None),
        (graph_for("REFINE"), {"3": {"inputs": {"seed": 5}}}, None),
        ({}, {"3": {"inputs": {"seed": 5}}}, None),
    ],
)
async def test_the_seed_is_read_from_the_filled_graph(config: dict[str, Any], graph: Any, seed: int | None) -> None:
    assert await find_seed(config, graph) == seed


class TestFiles:
    async def test_files_are_uploaded_and_their_names_inserted(
        self, provider: ComfyUiProvider, emulator: ComfyUiEmulator
    ) -> None:
        graph, io = {"1": node(image=""), "2": node("mask_image_url", image="")}, files()
        places = {"base_image_url": ["1.image", "1.again"]}
        inputs = {"base_image_url": SHOE, "mask_image_url": HAT}
        result = await fill(provider, graph, places, TaskType.EDITING, io, **inputs)
        again = await fill(provider, graph, places, TaskType.EDITING, io, **inputs)
        assert result == again
        (_, _, first), (_, _, second) = emulator.files
        assert result == {
            "1": {"image": f"stepwell/{first}", "again": f"stepwell/{first}"},
            "2": {"image": f"stepwell/{second}"},
        }
        assert (first[-4:], second[-4:], len(first)) == (".png", ".jpg", 68)
        assert emulator.files == {
            ("input", "stepwell", first): io.inputs[SHOE].data,
            ("input", "stepwell", second): io.inputs[HAT].data,
        }
        assert emulator.count("upload") == 4

    async def test_a_file_without_a_place_is_not_uploaded(
        self, provider: ComfyUiProvider, emulator: ComfyUiEmulator
    ) -> None:
        places = {"prompt": "1.text"}
        await fill(provider, {"1": node()}, places, prompt="a shoe", reference_image_url="media/nobody/knows.png")
        assert emulator.calls == []

    async def test_the_files_of_a_list_are_inserted_one_by_one(self, provider: ComfyUiProvider) -> None:
        graph = {
            "1": node(a="old", b="old", c="old"),
            "9": node("image_urls", image="old"),
            "10": node("image_urls", image=""),
        }
        places = {"prompt": "1.p", "reference_image_urls": ["1.a", "1.b", "1.c"]}
        inputs: dict[str, Any] = {"prompt": "x", "reference_image_urls": [SHOE, HAT], "image_urls": [HAT, SHOE]}
        result = await fill(provider, graph, places, **inputs)
        first, second = result["1"]["a"], result["1"]["b"]
        assert (first[-3:], second[-3:], result["1"]["c"]) == ("png", "jpg", "old")
        assert (result["9"]["image"], result["10"]["image"]) == (second, first)
        with pytest.raises(AttemptError, match=r"reference_image_urls: there are more files \(2\) than places \(1\)"):
            await fill(provider, graph, {**places, "reference_image_urls": "1.a"}, **inputs)

    @pytest.mark.parametrize(
        ("inputs", "words"),
        [
            ({"base_image_url": 5}, "base_image_url: expected a string"),
            ({"base_image_url": "media/x"}, "base_image_url: artifact not found"),
            (
                {"base_image_url": SHOE, "reference_image_urls": [HAT, 5]},
                r"reference_image_urls\[1\]: expected a string",
            ),
            ({"base_image_url": SHOE, "reference_image_urls": [HAT, "x"]}, r"reference_image_urls\[1\]: artifact"),
        ],
    )
    async def test_an_input_that_is_not_a_file_is_refused(
        self, provider: ComfyUiProvider, inputs: dict[str, Any], words: str
    ) -> None:
        places = {"base_image_url": "1.image", "reference_image_urls": ["1.a", "1.b"]}
        with pytest.raises(AttemptError, match=words) as failure:
            await fill(provider, {"1": node()}, places, TaskType.EDITING, **inputs)
        assert (failure.value.retryable, failure.value.provider_fault) == (False, False)

    @pytest.mark.parametrize(("media_type", "ending"), [("", "bin"), ("video/mp4", "mp4"), ("a/b\r\nX: y", "bin")])
    async def test_an_upload_has_the_extension_and_type_of_the_file(
        self, provider: ComfyUiProvider, emulator: ComfyUiEmulator, media_type: str, ending: str
    ) -> None:
        data = b"\r\n--stepwell\r\n\x00\xff"
        io = MemoryIO(inputs={SHOE: Blob(data, media_type)})
        await fill(provider, {"1": node()}, {"base_image_url": "1.a"}, TaskType.REFINE, io, base_image_url=SHOE)
        ((_, _, name),) = emulator.files
        assert (name.rpartition(".")[2], list(emulator.files.values())) == (ending, [data])

    @pytest.mark.parametrize(
        ("fault", "retryable"),
        [
            (Fault.LOSE_BEFORE, True),
            (Fault.GARBAGE_AFTER, True),
            (Fault.BUSY, True),
            (Fault.BROKEN, True),
            (Fault.GATEWAY_BEFORE, True),
            (Fault.REFUSED, False),
        ],
    )
    async def test_a_failed_upload_fails_the_attempt(
        self,
        provider: ComfyUiProvider,
        emulator: ComfyUiEmulator,
        fault: Fault,
        retryable: bool,  # noqa: FBT001 - a column
    ) -> None:
        emulator.plan("upload", fault)
        with pytest.raises(AttemptError, match="ComfyUI") as failure:
            await provider.prepare(attempt(TaskType.REFINE), files())
        assert (failure.value.retryable, failure.value.retry_after_s) == (retryable, 0 if fault is Fault.BUSY else None)
        assert emulator.ledger.jobs() == []

    async def test_the_name_that_the_server_answers_is_inserted(
        self, provider: ComfyUiProvider, emulator: ComfyUiEmulator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        places: dict[str, Any] = {"base_image_url": "1.a"}
        names: list[tuple[dict[str, Any], str]] = [
            ({"name": "b.png", "subfolder": "", "type": "input"}, "b.png"),
            ({"name": "b.png"}, "b.png"),
            ({"name": "b.png", "subfolder": "c"}, "c/b.png"),
        ]
        for answer, name in names:
            monkeypatch.setattr(emulator, "_uploaded", lambda _, answer=answer: Reply(200, answer))
            result = await fill(provider, {"1": node()}, places, TaskType.REFINE, base_image_url=SHOE)
            assert result == {"1": {"a": name}}

    async def test_no_error_shows_the_key(
        self, tmp_path: Path, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "behind").mkdir()
        async with ComfyUiEmulator(tmp_path / "behind", token=TOKEN) as emulator:
            monkeypatch.setattr(emulator, "_uploaded", lambda _: emulator.error(400, f"you sent {TOKEN}"))
            with pytest.raises(AttemptError, match="an upload was answered 400: you sent …"):
                await provider_at(emulator, client).prepare(attempt(TaskType.REFINE), files())
