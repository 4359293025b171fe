"""What can be told of a ComfyUI graph (`provider_config.graph`) before it runs: see `providers.comfyui.graph`.

A graph may have 5,000 nodes, far more than people draw, with ids of 100 characters: the service looks at each.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from stepwell.domain.errors import Fault
from stepwell.domain.faults import Loc, shown

MAX_NODES = 5_000
MAX_NODE_ID = 100  # characters


def graph_faults(config: Mapping[str, Any] | None, loc: Loc) -> Iterator[Fault]:
    """*config* is the provider_config of a step that goes to COMFYUI."""
    given = config or {}
    graph, place = given.get("graph"), (*loc, "graph")
    if graph is None:
        yield Fault(place, "COMFYUI needs a workflow in API format (in ComfyUI: Export (API))", "missing")
    elif not isinstance(graph, Mapping) or not graph or isinstance(graph.get("nodes"), list):
        yield Fault(place, "Expected a workflow in API format: an object of nodes (in ComfyUI: Export (API))", "graph")
    elif len(graph) > MAX_NODES:
        yield Fault(place, f"Expected {MAX_NODES} nodes at most", "too_long")
    else:
        yield from _node_faults(graph, place)
        yield from _place_faults(given.get("inputs"), graph, (*loc, "inputs"))
        output = given.get("output")
        if output is not None and str(output) not in graph:
            yield Fault((*loc, "output"), "The graph has no such node", "unknown_node")


def _node_faults(graph: Mapping[str, Any], loc: Loc) -> Iterator[Fault]:
    for node_id, node in graph.items():
        if len(node_id) > MAX_NODE_ID:
            yield Fault((*loc, shown(node_id)), f"Expected an id of {MAX_NODE_ID} characters at most", "too_long")
        elif not isinstance(node, Mapping) or not isinstance(node.get("class_type"), str):
            yield Fault((*loc, shown(node_id)), "Expected a node: an object with class_type and inputs", "graph")


def _place_faults(inputs: Any, graph: Mapping[str, Any], loc: Loc) -> Iterator[Fault]:
    if inputs is None:
        return
    if not isinstance(inputs, Mapping):
        yield Fault(loc, 'Expected an object, like {"prompt": "6.text"}', "type_error")
        return
    for name, places in inputs.items():
        for place in places if isinstance(places, list) else [] if places is None else [places]:
            node, _, rest = place.partition(".") if isinstance(place, str) else ("", "", "")
            if not node or not rest:
                yield Fault((*loc, shown(name)), 'Expected a place, like "6.text", or a list of them', "type_error")
            elif node not in graph:
                yield Fault((*loc, shown(name)), f"The graph has no node {shown(node)}", "unknown_node")
