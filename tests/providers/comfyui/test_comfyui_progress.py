"""COMFYUI: what each message of the server is made into."""

from typing import Any

import pytest

from stepwell.providers.comfyui.progress_socket import News, Watch

NODES = frozenset({"1", "2", "3", "4"})
RUNNING = {"state": "running", "value": 1, "max": 2}
Message = tuple[str, dict[str, Any]]


@pytest.mark.parametrize(
    ("messages", "progress", "node", "news"),
    [
        ([("execution_start", {})], 0.0, None, None),
        ([("execution_cached", {"nodes": ["1", "2", "9"]})], 0.5, None, News.PROGRESS),
        ([("executing", {"node": "1"})], 0.0, "1", None),
        ([("executing", {"node": "1"}), ("executing", {"node": "2"})], 0.25, "2", News.PROGRESS),
        ([("executing", {"node": "9:1", "display_node": "2"})], 0.0, "2", None),
        ([("executing", {"node": "9:1", "display_node": "9"})], 0.0, None, None),
        ([("executing", {"node": None})], 0.0, None, News.END),
        ([("executed", {"node": "4", "output": {}})], 0.25, None, News.PROGRESS),
        ([("progress", {"node": "3", "value": 5, "max": 10})], 0.125, None, News.PROGRESS),
        ([("progress", {"node": "3", "value": 1, "max": 1000})], 0.00025, None, None),
        ([("progress", {"node": "3", "value": 50, "max": 10}), ("progress", {"node": "3", "value": -1, "max": 10})],
         0.25, None, News.PROGRESS),
        ([("progress", {"node": "3", "value": "5", "max": 10})], 0.0, None, None),
        ([("progress", {"value": 5, "max": 10})], 0.0, None, None),
        (
            [
                ("progress_state", {"nodes": {"1": {"state": "finished"}, "2": RUNNING}}),
                ("executing", {"node": "4"}),
                ("executed", {"node": "3"}),
            ],
            0.375,
            "2",
            News.PROGRESS,
        ),
        (
            [("progress_state", {"nodes": {"9:1": {**RUNNING, "display_node_id": "3"}}})],
            0.0,
            "3",
            None,
        ),
        ([("progress_state", {"nodes": {"1": {"state": "error", "value": 0, "max": 1}}})], 0.0, None, None),
        ([("execution_success", {})], 0.0, None, News.END),
        ([("execution_error", {"node_id": "1"})], 0.0, None, News.END),
        ([("execution_interrupted", {}), ("executed", {"node": "4"})], 0.25, None, News.END),
        ([("executed", {"node": node}) for node in "12341"], 1.0, None, News.PROGRESS),
    ],
)  # fmt: skip
def test_each_message_updates_share_node_and_news(
    messages: list[Message], progress: float, node: str | None, news: News | None
) -> None:
    watch = Watch(NODES)
    for kind, data in messages:
        watch.process(kind, data)
    assert (watch.progress, watch.node, watch.take_news(), watch.take_news()) == (progress, node, news, None)


def test_an_empty_queue_or_a_change_after_the_end_is_news() -> None:
    watch = Watch(NODES)
    watch.queue_changed(3)
    watch.queue_changed(None)
    assert watch.take_news() is None
    watch.queue_changed(0)
    assert watch.take_news() is News.END
    watch.process("execution_success", {})
    assert (watch.take_news(), watch.take_news()) == (News.END, None)
    watch.queue_changed(3)
    assert watch.take_news() is News.END


def test_without_a_graph_there_is_no_progress() -> None:
    watch = Watch(frozenset())
    watch.process("executing", {"node": "1"})
    assert (watch.progress, watch.node, watch.take_news()) == (None, None, None)
