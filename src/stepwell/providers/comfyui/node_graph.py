"""The graph of a step, with the step's inputs inserted at their places.

`provider_config.graph` is a workflow in ComfyUI's API format: nodes by id, each with a class_type and inputs
(https://docs.comfy.org/development/api-development/workflow-api-format).

`provider_config.inputs` defines the place of an input: {"prompt": "6.text"}, where 6 is a node and text one of its
inputs; "6.inputs.text" is the same. A list of places inserts the input at each; null omits it. An input that isn't
named there goes to every node whose title (`_meta.title`) is the input's name: into the node's input of that name, else
into the first of "value", "text", "string", "prompt", "image", "video", "file", "seed", "noise_seed", "int", "float"
and "number". An input without a place is omitted, unless the task type requires it.

`*_url` inputs are files. They are uploaded, and their names inserted. The files of a list `*_urls` are inserted one by
one: the first at the first place, and so on. There must be enough places; places that are left over keep the graph's
value. Other lists and objects are inserted as JSON text. `seed` defaults to the attempt's seed.

A graph may have up to 5,000 nodes, with ids of up to 100 characters. Code that visits all of it runs in a thread, once
an attempt. `model_of`, which is called for each decision about a start, visits each node once.
"""

import re
from collections.abc import Awaitable, Callable, Container, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from anyio import to_thread
from msgspec import json

from stepwell.basics.errors import AttemptError, Fault
from stepwell.contract.enums import TaskType
from stepwell.contract.task_configs import TASK_TYPES
from stepwell.definition.mapping.task_configs import without_nulls
from stepwell.lifecycle.steps import KnownStep
from stepwell.outbound.sanitise import sanitised
from stepwell.ports.providers import Attempt, AttemptIO, Blob
from stepwell.providers.shared.refusals import Refusal, collect_refusals, config_refusal

MAX_NODES = 5_000
MAX_NODE_ID = 100  # characters

Graph = Mapping[str, Mapping[str, Any]]
Upload = Callable[[Blob], Awaitable[str]]

_PLACE = re.compile(r"([^.]+)\.(?:inputs\.)?(.+)", re.DOTALL)
# The inputs of a titled node that may take a value, in this order.
_TEXTS, _FILES = ("value", "text", "string", "prompt"), ("image", "video", "file")
_TITLED = (*_TEXTS, *_FILES, "seed", "noise_seed", "int", "float", "number")
_MODELS = ("ckpt_name", "unet_name")
_NOT_INSERTED = frozenset({"timeout_s"})
_MAX_MODEL_NAME = 200  # bytes


class NodeInput(NamedTuple):
    """A place: an input of a node."""

    node: str
    input: str


class _Files(NamedTuple):
    """Files to upload, each with its name in messages, and the places of their names."""

    references: Sequence[tuple[Any, str]]
    places: Sequence[Sequence[NodeInput]]


def graph_of(config: Mapping[str, Any]) -> Graph:
    """Return `provider_config.graph`. Raises `AttemptError` if it is missing, or not in the API format."""
    for refusal in _graph_refusals(config.get("graph")):
        raise refusal
    graph: Graph = config["graph"]
    return graph


def _graph_refusals(graph: Any) -> Iterator[Refusal]:
    if graph is None:
        why = "COMFYUI needs one: a workflow in API format (in ComfyUI: Export (API))"
        yield config_refusal("graph", why=why, word="missing")
    elif not isinstance(graph, Mapping) or not graph:
        yield config_refusal("graph", why="expected an object of nodes")
    elif isinstance(graph.get("nodes"), list):
        why = "this is the format of the editor; the API format is needed (in ComfyUI: Export (API))"
        yield config_refusal("graph", why=why)
    elif len(graph) > MAX_NODES:
        yield config_refusal("graph", why=f"expected {MAX_NODES} nodes at most")
    else:
        for node_id, node in graph.items():
            if len(node_id) > MAX_NODE_ID:
                why = f"expected an id of {MAX_NODE_ID} characters at most"
                yield config_refusal("graph", f"{node_id[:20]}…", why=why)
            elif (
                not isinstance(node, Mapping)
                or not isinstance(node.get("class_type"), str)
                or not isinstance(node.get("inputs", {}), Mapping)
            ):
                yield config_refusal("graph", node_id, why="expected a node: an object with class_type and inputs")


def refusals(step: KnownStep) -> Iterator[Fault]:
    """Yield what `fill_graph` would refuse for any files, and any values of inputs that aren't known yet."""
    config = step.provider_config
    broken = [refusal.fault for refusal in _graph_refusals(config.get("graph"))]
    if broken:
        yield from broken
        return
    graph = config["graph"]
    yield from collect_refusals(partial(_check_output, config, graph))
    try:
        places = _Places(config, graph)
    except Refusal as refusal:
        inputs = config["inputs"]
        each = inputs.items() if isinstance(inputs, Mapping) else ()
        yield from (
            collect_refusals(*(partial(_read_places, graph, field, value) for field, value in each))
            if each
            else [refusal.fault]
        )
        return
    yield from collect_refusals(*_checks(step, places))


def _checks(step: KnownStep, places: "_Places") -> Iterator[Callable[[], object]]:
    names = (step.inputs.keys() | step.unresolved) - _NOT_INSERTED
    yield partial(places.check_required, step.task_type, names)
    for field in ("seed", *sorted(names)):
        yield partial(_check_files, field, step.inputs.get(field), places)


def nodes_of(config: Mapping[str, Any]) -> frozenset[str]:
    """Return the ids of the graph's nodes; an empty set without a graph."""
    graph = config.get("graph")
    return frozenset(graph) if isinstance(graph, Mapping) else frozenset()


def model_of(config: Mapping[str, Any]) -> str:
    """Return the model for limits: `provider_config.model`, else the graph's first checkpoint, else "graph"."""
    model, graph = config.get("model"), config.get("graph")
    if isinstance(model, str) and model:
        return sanitised(model, _MAX_MODEL_NAME)
    if not isinstance(graph, Mapping) or len(graph) > MAX_NODES:
        return "graph"
    loaders = (node_id for node_id, node in graph.items() if len(node_id) <= MAX_NODE_ID and _checkpoint(node))
    first = min(loaders, key=node_order, default=None)
    return "graph" if first is None else sanitised(_checkpoint(graph[first]) or "", _MAX_MODEL_NAME)


def title_of(config: Mapping[str, Any], node_id: str) -> str:
    """Return the title of a node, else its id."""
    graph = config.get("graph")
    title = _title(graph.get(node_id)) if isinstance(graph, Mapping) else None
    return sanitised(title or node_id, 100)


def node_order(node_id: str) -> list[tuple[bool, int, str]]:
    """Return a sort key for node ids: 9 before 10, 9:2 (in a subgraph) after 9, numbers before words."""
    parts = str(node_id).split(":")
    return [(False, int(part), "") if part.isdecimal() else (True, 0, part) for part in parts]


async def find_seed(config: Mapping[str, Any], graph: Any) -> int | None:
    """Return the seed in a filled *graph*; None if it has no place for one."""
    return await to_thread.run_sync(_find_seed, config, graph)


async def fill_graph(attempt: Attempt, io: AttemptIO, upload: Upload) -> dict[str, Any]:
    """Return the graph with all inputs, its files uploaded. Raises `AttemptError` for missing or wrong places."""
    filled, pending_files = await to_thread.run_sync(_fill, attempt)
    for files in pending_files:
        for (reference, label), places in zip(files.references, files.places, strict=False):
            name = await upload(await io.fetch(_text(reference, label), label))
            for place in places:
                filled[place.node]["inputs"][place.input] = name
    return filled


def uses_input(config: Mapping[str, Any], field: str) -> bool:
    """Return whether the graph has a place for the input *field*. An input without a place isn't used."""
    try:
        return bool(_Places(config, graph_of(config)).of(field))
    except AttemptError:
        return False


def placed_inputs(config: Mapping[str, Any]) -> frozenset[str] | None:
    """Return the inputs that have a place in the graph; None if the graph, or the places, are refused."""
    try:
        return _Places(config, graph_of(config)).names
    except AttemptError:
        return None


def _find_seed(config: Mapping[str, Any], graph: Any) -> int | None:
    try:
        places = _Places(config, graph_of(config)).of("seed")
    except AttemptError:
        return None
    for node, name in places:
        inputs = graph.get(node, {}).get("inputs") if isinstance(graph, Mapping) else None
        seed = inputs.get(name) if isinstance(inputs, Mapping) else None
        if isinstance(seed, int) and not isinstance(seed, bool):
            return seed
    return None


def _fill(attempt: Attempt) -> tuple[dict[str, Any], list[_Files]]:
    """Return the graph with all inputs except files, and the files to insert."""
    config = attempt.provider_config
    graph = graph_of(config)
    places = _Places(config, graph)
    _check_output(config, graph)
    filled: dict[str, Any] = {
        node_id: {**node, "inputs": {**node.get("inputs", {})}} for node_id, node in graph.items()
    }
    inputs = {field: value for field, value in without_nulls(attempt.inputs).items() if field not in _NOT_INSERTED}
    places.check_required(attempt.task_type, inputs)
    pending_files = []
    for field, value in {"seed": attempt.seed, **inputs}.items():
        node_inputs = places.of(field)
        if not node_inputs:
            continue
        if (files := _files_of(field, value, node_inputs)) is not None:
            pending_files.append(files)
            continue
        # ComfyUI would read a list as a link to another node.
        inserted = json.encode(value, order="deterministic").decode() if isinstance(value, list | Mapping) else value
        for node, name in node_inputs:
            filled[node]["inputs"][name] = inserted
    return filled, pending_files


def _check_output(config: Mapping[str, Any], graph: Graph) -> None:
    output = config.get("output")
    if output is not None and (not isinstance(output, str) or output not in graph):
        raise config_refusal("output", why=f"the graph has no node {output!r}")


def _check_files(field: str, value: Any, places: "_Places") -> None:
    if node_inputs := places.of(field):
        _files_of(field, value, node_inputs)


def _files_of(field: str, value: Any, places: Sequence[NodeInput]) -> _Files | None:
    """Return the files of an input and their places; None if the input isn't a file."""
    if field.endswith("_url"):
        return _Files([(value, field)], [places])
    if not field.endswith("_urls") or not isinstance(value, list):
        return None
    if len(value) > len(places):
        why = f"there are more files ({len(value)}) than places ({len(places)})"
        raise config_refusal("inputs", field, why=why)
    return _Files([(item, f"{field}[{number}]") for number, item in enumerate(value)], [[place] for place in places])


class _Places:
    """The places of a step's inputs in its graph. Raises `AttemptError` if the step names a place that isn't there."""

    def __init__(self, config: Mapping[str, Any], graph: Graph) -> None:
        self._graph, self._titles = graph, dict[str, list[str]]()
        for node_id, node in graph.items():
            if (title := _title(node)) is not None:
                self._titles.setdefault(title, []).append(node_id)
        inputs = config.get("inputs")
        if not isinstance(inputs, Mapping | None):
            raise config_refusal("inputs", why="expected an object")
        self._named = {field: _read_places(graph, field, value) for field, value in (inputs or {}).items()}

    @property
    def names(self) -> frozenset[str]:
        """The inputs that have a place. The places that the step names replace those by title."""
        return frozenset({name for name in {*self._named, *self._titles} if self._named.get(name, True)})

    def of(self, field: str) -> list[NodeInput]:
        named = self._named.get(field)
        return self._places_by_title(field) if named is None else named

    def check_required(self, task_type: TaskType, inputs: Container[str]) -> None:
        """Raise unless a required input has a place, or the step omits one explicitly."""
        needed = [field for field in TASK_TYPES[task_type].inputs if field in inputs]
        if needed and not any(field in self._named or self.of(field) for field in needed):
            message = f"nothing in the graph takes {' or '.join(needed)}: name its place, like 6.text, or null"
            raise config_refusal("inputs", why=message)

    def _places_by_title(self, field: str) -> list[NodeInput]:
        places = []
        for node_id in sorted(self._titles.get(field, ()), key=node_order):
            inputs = self._graph[node_id].get("inputs", {})
            name = next((name for name in (field, *_TITLED) if name in inputs), None)
            if name is None:
                raise config_refusal("graph", node_id, why=f"inputs must name which of its inputs is {field}")
            places.append(NodeInput(node_id, name))
        return places


def _read_places(graph: Graph, field: str, value: Any) -> list[NodeInput]:
    places = []
    for path in value if isinstance(value, list) else [] if value is None else [value]:
        match = _PLACE.fullmatch(path) if isinstance(path, str) else None
        if match is None:
            why = "expected node.input, like 6.text, a list of such places, or null"
            raise config_refusal("inputs", field, why=why)
        if match[1] not in graph:
            raise config_refusal("inputs", field, why=f"the graph has no node {match[1]!r}")
        places.append(NodeInput(match[1], match[2]))
    return places


def _checkpoint(node: Any) -> str | None:
    """Return the name of the checkpoint that a node loads; None if it loads none."""
    inputs = node.get("inputs") if isinstance(node, Mapping) else None
    names = (inputs.get(name) for name in _MODELS) if isinstance(inputs, Mapping) else ()
    return next((name for name in names if isinstance(name, str) and name), None)


def _title(node: Any) -> str | None:
    meta = node.get("_meta") if isinstance(node, Mapping) else None
    title = meta.get("title") if isinstance(meta, Mapping) else None
    return title if isinstance(title, str) else None


def _text(value: Any, field: str) -> str:
    if not isinstance(value, str):
        raise AttemptError(f"{field}: expected a string", retryable=False, provider_fault=False)
    return value
