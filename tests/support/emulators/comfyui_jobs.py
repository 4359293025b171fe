"""The jobs of the emulator of ComfyUI, and what their nodes give."""

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from PIL import Image

from stepwell.basics.strict_json.canonical import canonical
from support.emulators.comfyui_graphs import NODES, text_in

VIDEO = b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom"


@dataclass
class Run:
    id: str
    number: int
    graph: dict[str, Any]
    extra_data: dict[str, Any]
    struck: bool = False  # its submit was, by a fault
    polls: int = 0
    started: bool = False
    ticking: bool = False
    ended: bool = False
    messages: list[Any] = field(default_factory=list)
    outputs: dict[str, Any] = field(default_factory=dict)
    status: str = "success"
    left_out: set[str] = field(default_factory=set)  # outputs that can't be made

    @property
    def client_id(self) -> str | None:
        client_id: str | None = self.extra_data.get("client_id")
        return client_id

    @property
    def prompt(self) -> list[Any]:
        """As the queue and the history list it."""
        shows = [node_id for node_id, node in self.graph.items() if NODES[node["class_type"]].gives]
        return [self.number, self.id, self.graph, self.extra_data, shows]

    @property
    def entry(self) -> dict[str, Any]:
        """As the history shows it."""
        status = {"status_str": self.status, "completed": self.status == "success", "messages": self.messages}
        return {"prompt": self.prompt, "outputs": self.outputs, "status": status, "meta": {}}


class Put(Protocol):
    def __call__(self, name: str, data: bytes, *, subfolder: str = "", type_: str = "output") -> dict[str, Any]:
        """Keep a file; how the history names it."""


def outputs_of(run: Run, put: Put) -> dict[str, Any]:
    """What its nodes give, by node; the files are put away."""
    return {
        node_id: _output(run, node_id, gives, put)
        for node_id, node in run.graph.items()
        if (gives := NODES[node["class_type"]].gives) and node_id not in run.left_out
    }


def _output(run: Run, node_id: str, gives: str, put: Put) -> dict[str, Any]:
    inputs, name, size = run.graph[node_id]["inputs"], f"{run.id}_{node_id}", _size(run.graph)
    match gives:
        case "text":
            return {"text": [text_in(run.graph, inputs["source"])]}
        case "film":
            return {"gifs": [put(f"{name}.mp4", VIDEO) | {"format": "video/h264-mp4", "frame_rate": 8}]}
        case "animation":
            return {"images": [put(f"{name}.webp", picture(size, "WEBP", frames=2))], "animated": [True]}
        case _:
            folder = "temp" if gives == "preview" else "output"
            batch = max(node["inputs"].get("batch_size", 1) for node in run.graph.values())
            files = [put(f"{name}_{number}.png", picture(size), type_=folder) for number in range(batch)]
            return {"images": files}


def picture(size: tuple[int, int] = (8, 8), kind: str = "PNG", frames: int = 1) -> bytes:
    target = io.BytesIO()
    first, *more = (Image.new("RGB", size, (200, 30 + 90 * number, 30)) for number in range(frames))
    first.save(target, kind, **({"save_all": True, "append_images": more} if more else {}))
    return target.getvalue()


def _size(graph: Mapping[str, Any]) -> tuple[int, int]:
    for node in graph.values():
        if node["class_type"] == "EmptyLatentImage":
            return int(node["inputs"]["width"]), int(node["inputs"]["height"])
    return 8, 8


def key_of(graph: Mapping[str, Any]) -> str:
    """What a job is for: its prompt and its seed, as far as it has them, or else the whole of it."""
    inputs = [node["inputs"] for _, node in sorted(graph.items())]
    prompts = (node_inputs.get(name) for node_inputs in inputs for name in ("text", "value"))
    prompt = next((text for text in prompts if isinstance(text, str) and text), None)
    seed = next((node_inputs["seed"] for node_inputs in inputs if "seed" in node_inputs), None)
    return canonical(graph).decode() if prompt is None else f"{prompt} ({seed})"


def progress_of(run: Run, share: float, tells: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The messages that tell that so much of it is done: as all servers do, and before that as newer ones do too."""
    nodes = list(run.graph)
    whole = int(share * len(nodes))
    part = round((share * len(nodes) - whole) * 10)
    if tells == "progress_state":
        states = {node: _state(node, run, 1, 1, "finished") for node in nodes[:whole]}
        states |= {node: _state(node, run, part, 10, "running") for node in nodes[whole : whole + 1]}
        yield "progress_state", {"nodes": states}
    for node in nodes[: whole + 1]:
        yield "executing", {"node": node, "display_node": node}
    if whole < len(nodes):
        yield "progress", {"value": part, "max": 10, "node": nodes[whole]}


def _state(node: str, run: Run, value: float, most: float, state: str) -> dict[str, Any]:
    state_of_node = {"value": value, "max": most, "state": state, "node_id": node, "prompt_id": run.id}
    return state_of_node | {"display_node_id": node, "parent_node_id": None, "real_node_id": node}


def trouble_of(run: Run, kind: str | None = None, words: str = "") -> dict[str, Any]:
    """What is told of an exception at its first node; of an interrupt where it has no *kind*."""
    node = next(iter(run.graph))
    about: dict[str, Any] = {"node_id": node, "node_type": run.graph[node]["class_type"], "executed": []}
    if kind is None:
        return about
    said = {"exception_message": words, "exception_type": kind, "traceback": []}
    return {**about, **said, "current_inputs": {}, "current_outputs": []}
