"""How far a job of ComfyUI has come, by what its server says of it over a socket.

The messages: https://docs.comfy.org/development/comfyui-server/comms_messages; `progress_state`, which newer servers
send besides, is told by comfy_execution/progress.py of https://github.com/Comfy-Org/ComfyUI.
"""

import math
from collections.abc import Mapping
from enum import Enum, auto
from typing import Any

_WORTH_TELLING = 0.01  # of a job
_ENDS = frozenset({"execution_success", "execution_error", "execution_interrupted"})


class News(Enum):
    PROGRESS = auto()  # more of it is done
    END = auto()  # it has ended, or may have: the server's history knows


class Watch:
    """A job that is polled. *nodes* are those of its graph, of which each counts alike; what the server adds to them
    while it works counts for nothing.

    `share`: what is done, 0 to 1, never less than before; null until something is known. `node`: what is at work.
    `running`: the last answer about it was that it goes on.
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
        self._told = 0.0

    def take(self) -> News | None:
        """What is new since it was last asked."""
        news, self.news = self.news, None
        self._told = self.share or 0.0
        return news

    def hear(self, kind: str, data: Mapping[str, Any]) -> None:
        """A message about this job."""
        match kind:
            case "execution_cached":
                cached = data.get("nodes")
                self._finish(*(cached if isinstance(cached, list) else ()))
            case "progress_state":
                self._states(data.get("nodes"))
            case "executing" if data.get("node") is None:
                self._end()
            case "executing" if not self._detailed:
                self._begin(data.get("node"), data.get("display_node"))
            case "progress" if not self._detailed:
                self._count(data.get("node"), _share(data))
            case "executed" if not self._detailed:
                self._finish(data.get("node"))
            case _ if kind in _ENDS:
                self._end()
        self._sum_up()

    def queue_changed(self, remaining: object) -> None:
        """The server's queue has changed; nothing may be left in it."""
        # The history has a job only after its end was told, and this is what is told then.
        if self._ended or remaining == 0:
            self.news = News.END

    def _states(self, states: object) -> None:
        if not isinstance(states, Mapping):
            return
        self._detailed = True
        for node, state in states.items():
            if not isinstance(state, Mapping):
                continue
            self._count(node, 1.0 if state.get("state") == "finished" else _share(state))
            if state.get("state") == "running":
                self._at(node, state.get("display_node_id"))

    def _begin(self, node: object, shown: object) -> None:
        self._finish(self.node)
        self._at(node, shown)

    def _at(self, node: object, shown: object) -> None:
        named = next((name for name in (node, shown) if name in self._nodes), None)
        if isinstance(named, str):
            self.node = named

    def _finish(self, *nodes: object) -> None:
        for node in nodes:
            self._count(node, 1.0)

    def _count(self, node: object, share: float | None) -> None:
        if isinstance(node, str) and node in self._nodes and share is not None:
            self._done[node] = max(share, self._done.get(node, 0.0))

    def _end(self) -> None:
        self._ended, self.news = True, News.END

    def _sum_up(self) -> None:
        if not self._nodes:
            return
        self.share = min(sum(self._done.values()) / len(self._nodes), 1.0)
        if self.news is None and self.share >= self._told + _WORTH_TELLING:
            self.news = News.PROGRESS


def _share(state: Mapping[str, Any]) -> float | None:
    value, most = state.get("value"), state.get("max")
    if not isinstance(value, int | float) or not isinstance(most, int | float) or not most > 0:
        return None
    share = value / most
    return min(max(share, 0.0), 1.0) if math.isfinite(share) else None
