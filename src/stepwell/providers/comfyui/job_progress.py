"""The progress of a ComfyUI job, from the messages of the server's socket.

The messages: https://docs.comfy.org/development/comfyui-server/comms_messages. Newer servers also send
`progress_state`; see comfy_execution/progress.py of https://github.com/Comfy-Org/ComfyUI.
"""

import math
from collections.abc import Mapping
from enum import Enum, auto
from typing import Any

_PROGRESS_STEP = 0.01  # smaller changes aren't reported
_ENDS = frozenset({"execution_success", "execution_error", "execution_interrupted"})


class News(Enum):
    """A change of a job's progress."""

    PROGRESS = auto()  # its progress
    END = auto()  # it has ended, or may have; the history shows it


class Watch:
    """The progress of a job that is polled.

    *nodes* are the nodes of its graph; each counts the same. Nodes that the server adds while it works don't count.
    `share` is the share that is done, 0 to 1, and never falls; None until it is known. `node` is the node at work.
    `running` says that the last poll found the job running.
    """

    def __init__(self, nodes: frozenset[str]) -> None:
        self._nodes = nodes
        self.share: float | None = None
        self.node: str | None = None
        self.running = False
        self.news: News | None = None
        self._ended = False
        self._detailed = False
        self._done: dict[str, float] = {}
        self._reported_share = 0.0

    def take_news(self) -> News | None:
        """Return the news since the last call."""
        news, self.news = self.news, None
        self._reported_share = self.share or 0.0
        return news

    def process(self, kind: str, data: Mapping[str, Any]) -> None:
        """Process a message about this job."""
        match kind:
            case "execution_cached":
                cached = data.get("nodes")
                self._finish(*(cached if isinstance(cached, list) else ()))
            case "progress_state":
                self._process_states(data.get("nodes"))
            case "executing" if data.get("node") is None:
                self._end()
            case "executing" if not self._detailed:
                self._begin_node(data.get("node"), data.get("display_node"))
            case "progress" if not self._detailed:
                self._set_share(data.get("node"), _share(data))
            case "executed" if not self._detailed:
                self._finish(data.get("node"))
            case _ if kind in _ENDS:
                self._end()
        self._update_share()

    def queue_changed(self, remaining: object) -> None:
        """Process a change of the queue, in which *remaining* jobs are left."""
        # A job enters the history after the message about its end. The next message is this one.
        if self._ended or remaining == 0:
            self.news = News.END

    def _process_states(self, states: object) -> None:
        if not isinstance(states, Mapping):
            return
        self._detailed = True
        for node, state in states.items():
            if not isinstance(state, Mapping):
                continue
            self._set_share(node, 1.0 if state.get("state") == "finished" else _share(state))
            if state.get("state") == "running":
                self._set_node(node, state.get("display_node_id"))

    def _begin_node(self, node: object, display_node: object) -> None:
        self._finish(self.node)
        self._set_node(node, display_node)

    def _set_node(self, node: object, display_node: object) -> None:
        known_name = next((name for name in (node, display_node) if name in self._nodes), None)
        if isinstance(known_name, str):
            self.node = known_name

    def _finish(self, *nodes: object) -> None:
        for node in nodes:
            self._set_share(node, 1.0)

    def _set_share(self, node: object, share: float | None) -> None:
        if isinstance(node, str) and node in self._nodes and share is not None:
            self._done[node] = max(share, self._done.get(node, 0.0))

    def _end(self) -> None:
        self._ended, self.news = True, News.END

    def _update_share(self) -> None:
        if not self._nodes:
            return
        self.share = min(sum(self._done.values()) / len(self._nodes), 1.0)
        if self.news is None and self.share >= self._reported_share + _PROGRESS_STEP:
            self.news = News.PROGRESS


def _share(state: Mapping[str, Any]) -> float | None:
    value, most = state.get("value"), state.get("max")
    if not isinstance(value, int | float) or not isinstance(most, int | float) or not most > 0:
        return None
    share = value / most
    return min(max(share, 0.0), 1.0) if math.isfinite(share) else None
