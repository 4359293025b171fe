"""COMFYUI: how large a graph may be, and what one that is as large costs the loop."""

import threading
from typing import Any

import pytest

from providers.comfyui.comfyui_cases import attempt, files, socket_of, submit
from stepwell.basics.errors import AttemptError
from stepwell.contract.enums import TaskType
from stepwell.ports.providers import JobStatus
from stepwell.providers.comfyui import node_graph
from stepwell.providers.comfyui import provider as comfyui
from stepwell.providers.comfyui.node_graph import MAX_NODES, model_of
from stepwell.providers.comfyui.provider import ComfyUiProvider
from support.emulators.comfyui import ComfyUiEmulator

FIELDS = 200


def large(nodes: int = MAX_NODES) -> dict[str, Any]:
    """A config, of whose nodes each tenth has a title."""
    found = {str(n): {"class_type": "a", "inputs": {"value": 0}} for n in range(nodes)}
    for n in range(0, nodes, 10):
        found[str(n)] |= {"_meta": {"title": f"f{n % FIELDS}"}}
    return {"graph": found, "inputs": {"prompt": "0.value"}}


class Counted:
    """Calls of `order`, and the threads that they came from."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls, self.threads, usual = 0, set[int](), node_graph.node_order

        def node_order(node_id: str) -> list[tuple[bool, int, str]]:
            self.calls += 1
            self.threads.add(threading.get_ident())
            return usual(node_id)

        monkeypatch.setattr(node_graph, "node_order", node_order)


async def test_a_large_graph_is_filled_in_a_thread_in_one_pass(
    provider: ComfyUiProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted, fields = Counted(monkeypatch), dict[str, Any]({f"f{n}": n for n in range(FIELDS)})
    request = await provider.prepare(attempt(config=large(), prompt="x", **fields), files())
    assert request.body["prompt"]["4990"]["inputs"] == {"value": 190}
    assert counted.calls == MAX_NODES / 10
    assert threading.get_ident() not in counted.threads


async def test_only_the_first_poll_reads_the_nodes_of_the_graph(
    provider: ComfyUiProvider, emulator: ComfyUiEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, usual, emulator.busy = 0, node_graph.nodes_of, True
    socket_of(provider).wait_s = 0.01

    def nodes_of(config: Any) -> frozenset[str]:
        nonlocal asked
        asked += 1
        return usual(config)

    monkeypatch.setattr(comfyui, "nodes_of", nodes_of)
    job = await submit(provider)
    for _ in range(3):
        assert (await provider.poll(attempt(), job)).status is JobStatus.RUNNING
    assert asked == 1


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ({str(n): {"class_type": "a"} for n in range(MAX_NODES + 1)}, "graph: expected 5000 nodes at most"),
        ({"9" * 5000: {"class_type": "a"}}, "expected an id of 100 characters at most"),
    ],
)
async def test_a_graph_over_the_limits_is_refused(provider: ComfyUiProvider, nodes: dict[str, Any], words: str) -> None:
    with pytest.raises(AttemptError, match=words) as caught:
        await provider.prepare(attempt(config={"graph": nodes}, prompt="x"), files())
    assert not caught.value.retryable
    assert provider.model(TaskType.GENERATION, {"graph": nodes}) == "graph"


def test_the_model_is_found_without_sorting_the_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes, counted = large()["graph"], Counted(monkeypatch)
    assert (model_of({"graph": nodes}), counted.calls) == ("graph", 0)
    nodes |= {str(n): {"class_type": "a", "inputs": {"ckpt_name": f"m{n}"}} for n in (4_000, 10, 9)}
    assert (model_of({"graph": nodes}), counted.calls) == ("m9", 3)
    nodes["9"]["inputs"] = {"ckpt_name": ["4", 0], "unet_name": "u"}
    assert model_of({"graph": nodes}) == "u"
    nodes |= {str(n): {"class_type": "a"} for n in range(MAX_NODES, 200_000)}
    counted.calls = 0
    assert (model_of({"graph": nodes}), counted.calls) == ("graph", 0)
