"""What of a ComfyUI graph is refused at create, and where."""

from typing import Any

import pytest

from stepwell.domain.graphs import MAX_NODES, graph_faults
from stepwell.domain.model import ProviderType, TaskType
from stepwell.domain.validation import Catalog
from support.definitions import body, draw, refused

GRAPH = {"6": {"class_type": "CLIPTextEncode", "inputs": {"text": ""}}, "9:2": {"class_type": "SaveImage"}}
PC = ("provider_config",)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (None, [("graph",)]),
        ({"graph": []}, [("graph",)]),
        ({"graph": {}}, [("graph",)]),
        ({"graph": {"nodes": [], "links": []}}, [("graph",)]),
        ({"graph": {"6": {"inputs": {}}, "7": 1}}, [("graph", "6"), ("graph", "7")]),
        ({"graph": {"x" * 100: {"class_type": "a"}}}, []),
        ({"graph": {"x" * 101: {"class_type": "a"}}}, [("graph", "x" * 101)]),
        ({"graph": {str(n): {"class_type": "a"} for n in range(MAX_NODES)}}, []),
        ({"graph": dict.fromkeys(map(str, range(MAX_NODES + 1)))}, [("graph",)]),
        ({"graph": GRAPH, "inputs": []}, [("inputs",)]),
        ({"graph": GRAPH, "inputs": {"prompt": "6"}}, [("inputs", "prompt")]),
        ({"graph": GRAPH, "inputs": {"prompt": ["6.text", "8.text", 5]}}, [("inputs", "prompt")] * 2),
        ({"graph": GRAPH, "output": "10"}, [("output",)]),
        ({"graph": GRAPH, "inputs": {"prompt": "6.inputs.text", "width": None, "seed": ["9:2.seed"]}}, []),
        ({"graph": GRAPH, "output": "9:2"}, []),
    ],
)
def test_graphs(config: Any, expected: list[tuple[str, ...]]) -> None:
    assert [fault.loc for fault in graph_faults(config, PC)] == [PC + place for place in expected]


def test_a_graph_is_asked_for_of_the_fallback_too() -> None:
    offers = {kind: {TaskType.GENERATION: frozenset[str]()} for kind in (ProviderType.LOCAL, ProviderType.COMFYUI)}
    catalog = Catalog(offers, ProviderType.LOCAL, frozenset())
    found = refused(body(draw(fallback_provider_type="COMFYUI")), catalog)
    assert [fault.loc[-2:] for fault in found] == [("fallback_provider_config", "graph")]
