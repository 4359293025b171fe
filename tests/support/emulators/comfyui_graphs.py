"""Graphs for the emulator of ComfyUI: one for each task type, and the nodes that it knows."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stepwell.contract.enums import TaskType

CHECKPOINT = "v1-5-pruned-emaonly.safetensors"


@dataclass(frozen=True)
class Node:
    """`gives`: what the history shows of it; nodes that give something are output nodes."""

    required: tuple[str, ...]
    gives: str | None = None


NODES: Mapping[str, Node] = {
    "CheckpointLoaderSimple": Node(("ckpt_name",)),
    "UNETLoader": Node(("unet_name",)),
    "CLIPTextEncode": Node(("text", "clip")),
    "EmptyImage": Node(("width", "height", "batch_size", "color")),
    "EmptyLatentImage": Node(("width", "height", "batch_size")),
    "KSampler": Node(("seed", "steps", "model", "positive", "negative", "latent_image")),
    "VAEDecode": Node(("samples", "vae")),
    "LoadImage": Node(("image",)),
    "ImageBatch": Node(("image1", "image2")),
    "ImageScaleBy": Node(("image", "scale_by")),
    "ImageSharpen": Node(("image", "alpha")),
    "SaveImage": Node(("images", "filename_prefix"), "picture"),
    "PreviewImage": Node(("images",), "preview"),
    "SaveAnimatedWEBP": Node(("images", "fps"), "animation"),
    "VHS_VideoCombine": Node(("images", "frame_rate"), "film"),
    "PrimitiveStringMultiline": Node(("value",)),
    "StringConcatenate": Node(("string_a", "string_b")),
    "PreviewAny": Node(("source",), "text"),
}


def _node(kind: str, title: str | None = None, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs, **({"_meta": {"title": title}} if title else {})}


_SAVED = {"9": _node("SaveImage", "Save Image", images=["8", 0], filename_prefix="stepwell")}
_LOADED = {"1": _node("LoadImage", image="example.png")}
_DRAWN = {
    "3": _node(
        "KSampler",
        "Sampler",
        seed=0,
        steps=20,
        model=["4", 0],
        positive=["6", 0],
        negative=["7", 0],
        latent_image=["5", 0],
    ),
    "4": _node("CheckpointLoaderSimple", ckpt_name=CHECKPOINT),
    "5": _node("EmptyLatentImage", width=512, height=512, batch_size=1),
    "6": _node("CLIPTextEncode", text="", clip=["4", 1]),
    "7": _node("CLIPTextEncode", text="", clip=["4", 1]),
    "8": _node("VAEDecode", samples=["3", 0], vae=["4", 2]),
    **_SAVED,
}
_BASE = {"base_image_url": "1.image"}
_ENHANCED = {**_LOADED, "8": _node("ImageSharpen", image=["1", 0], alpha=1.0), **_SAVED}
_ASKED = {
    "1": _node("PrimitiveStringMultiline", value=""),
    "2": _node("StringConcatenate", string_a="An answer to: ", string_b=["1", 0]),
    "3": _node("PreviewAny", source=["2", 0]),
}
_GRAPHS: Mapping[TaskType, tuple[Mapping[str, Any], Mapping[str, Any]]] = {
    TaskType.GENERATION: (
        _DRAWN,
        {
            "prompt": "6.text",
            "negative_prompt": "7.inputs.text",
            "width": "5.width",
            "height": "5.height",
            "seed": "3.seed",
        },
    ),
    TaskType.EDITING: (
        {
            **_DRAWN,
            **_LOADED,
            "2": _node("LoadImage", image="example.png"),
            "5": _node("ImageBatch", image1=["1", 0], image2=["2", 0]),
        },
        {"prompt": "6.text", "reference_image_urls": ["2.image"], "seed": "3.seed", **_BASE},
    ),
    TaskType.REFINE: (
        {**_LOADED, "8": _node("ImageScaleBy", image=["1", 0], scale_by=1.0), **_SAVED},
        {"upscale_factor": "8.scale_by", **_BASE},
    ),
    TaskType.VIDEO_GENERATION: (
        {**_LOADED, "2": _node("VHS_VideoCombine", images=["1", 0], frame_rate=8)},
        {"fps": "2.frame_rate", **_BASE},
    ),
    TaskType.BACKGROUND_FIX: (_ENHANCED, _BASE),
    TaskType.BACKGROUND_REMOVE: (_ENHANCED, _BASE),
    TaskType.IMAGE_ADJUSTER: (_ENHANCED, {"contrast": "8.alpha", **_BASE}),
    TaskType.FACE_ENHANCER: (_ENHANCED, {"strength": "8.alpha", **_BASE}),
    TaskType.DETAIL_ENHANCER: (_ENHANCED, {"strength": "8.alpha", **_BASE}),
    TaskType.LLM_INTERACTION: (_ASKED, {"prompt": "1.value"}),
}


def graph_for(task_type: TaskType | str) -> dict[str, Any]:
    """`provider_config` with a graph for that task type: a copy that the caller may change."""
    graph, inputs = _GRAPHS[TaskType(task_type)]
    return {"graph": copy.deepcopy(dict(graph)), "inputs": dict(inputs)}


def text_in(graph: Mapping[str, Any], value: Any) -> str:
    """What a text input holds, links followed."""
    if not isinstance(value, list):
        return str(value)
    inputs = graph[value[0]]["inputs"]
    names = [name for name in ("string_a", "string_b", "value", "text", "source") if name in inputs]
    return "".join(text_in(graph, inputs[name]) for name in names)


def errors_in(graph: Mapping[str, Any], files: Mapping[str, bytes]) -> dict[str, Any] | None:
    """The body of a refusal, as `validate_prompt` words it; None if all of the graph can be run."""
    for node_id, node in graph.items():
        kind = node.get("class_type")
        if kind not in NODES:
            name = node.get("_meta", {}).get("title", kind)
            about = {"node_id": node_id, "class_type": kind, "node_title": name}
            message = f"Node '{name}' not found. The custom node may not be installed."
            return refusal("missing_node_type", message, f"Node ID '#{node_id}'", about)
    outputs = outputs_in(graph)
    if not outputs:
        return refusal("prompt_no_outputs", "Prompt has no outputs", "")
    found = {node_id: errors for node_id, node in graph.items() if (errors := _errors_of(graph, node, files))}
    if not found:
        return None
    details = "\n".join(f"{error['message']}: {error['details']}" for errors in found.values() for error in errors)
    body = refusal("prompt_outputs_failed_validation", "Prompt outputs failed validation", details)
    body["node_errors"] = {
        node_id: {
            "errors": errors,
            "dependent_outputs": [each for each in outputs if node_id in _needed(graph, each)],
            "class_type": graph[node_id]["class_type"],
        }
        for node_id, errors in found.items()
    }
    return body


def left_out(refused: Mapping[str, Any]) -> set[str]:
    """The outputs that can't be made."""
    return {output for node in refused["node_errors"].values() for output in node["dependent_outputs"]}


def outputs_in(graph: Mapping[str, Any]) -> set[str]:
    return {node_id for node_id, node in graph.items() if NODES[node["class_type"]].gives}


def _needed(graph: Mapping[str, Any], node_id: str) -> set[str]:
    """The node, and all that it takes something from."""
    found: set[str] = set()
    left = [node_id]
    while left:
        if (node_id := left.pop()) not in found and node_id in graph:
            found.add(node_id)
            left += [value[0] for value in graph[node_id]["inputs"].values() if isinstance(value, list) and value]
    return found


def _errors_of(graph: Mapping[str, Any], node: Mapping[str, Any], files: Mapping[str, bytes]) -> list[dict[str, Any]]:
    inputs = node["inputs"]
    errors = [
        _error("required_input_missing", "Required input is missing", name)
        for name in NODES[node["class_type"]].required
        if name not in inputs
    ]
    for name, value in inputs.items():
        if isinstance(value, list) and len(value) != 2:
            errors.append(
                _error("bad_linked_input", "Bad linked input, must be a length-2 list of [node_id, slot_index]", name)
            )
        elif isinstance(value, list) and value[0] not in graph:
            errors.append(_error("exception_during_validation", "Exception when validating node", f"'{value[0]}'"))
    if node["class_type"] == "LoadImage" and inputs.get("image") not in files:
        details = f"image - Invalid image file: {inputs.get('image')}"
        errors.append(_error("custom_validation_failed", "Custom validation failed for node", details))
    return errors


def _error(kind: str, message: str, details: str) -> dict[str, Any]:
    return {"type": kind, "message": message, "details": details, "extra_info": {}}


def refusal(kind: str, message: str, details: str, about: Any = None) -> dict[str, Any]:
    """An error in ComfyUI's words."""
    return {
        "error": {"type": kind, "message": message, "details": details, "extra_info": about or {}},
        "node_errors": {},
    }
